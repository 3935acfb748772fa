"""Searching as clients and engines do, over the real application, on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from conftest import example, media

from fhir_bridge import clock
from fhir_bridge.store import past_keys
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from conftest import Answer, Ehr

    from fhir_bridge.settings import Settings

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def web_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"public_url": "http://127.0.0.1:8080"})


def patient(ehr: Ehr, id_: str, **elements: Any) -> str:
    sent = {"resourceType": "Patient", "id": id_, **elements}
    assert ehr.put(f"Patient/{id_}", sent).status == 201
    return id_


def visit(ehr: Ehr, id_: str, of: str | None = None, **elements: Any) -> str:
    subject = {"subject": {"reference": f"Patient/{of}"}} if of else {"subject": None}
    sent = example("encounter-ambulatory", id=id_, identifier=None, **(subject | elements))
    answer = ehr.put(f"Encounter/{id_}", sent)
    assert answer.status == 201, answer.raw
    return id_


def links(answer: Answer) -> dict[str, str]:
    return {link["relation"]: link["url"] for link in answer.json["link"]}


def followed(ehr: Ehr, answer: Answer, relation: str = "next") -> Answer:
    return ehr.get(links(answer)[relation].partition("/fhir/")[2])


def matches(answer: Answer, mode: str = "match") -> list[str]:
    entries = answer.json.get("entry", [])
    return [each["resource"]["id"] for each in entries if each["search"]["mode"] == mode]


def self_query(answer: Answer) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(links(answer)["self"]).query)


# --- order --------------------------------------------------------------------------------


@pytest.fixture
def people(ehr):
    patient(ehr, "c", name=[{"family": "Öster"}], birthDate="1980-05", gender="male")
    patient(ehr, "a", name=[{"family": "abel"}, {"family": "Zorn"}], birthDate="1980-05-17", gender="female")
    patient(ehr, "d", gender="female")
    patient(ehr, "b", name=[{"family": "Meier"}], birthDate="1955", gender="other")
    return ehr


SORTED = {
    "-_lastUpdated": "bdac",
    "_lastUpdated": "cadb",
    "_id": "abcd",
    "-_id": "dcba",
    "birthdate": "bcad",
    "-birthdate": "acbd",
    "family": "abcd",
    "-family": "acbd",
    "gender,_id": "adcb",
    "gender,-_id": "dacb",
    "-gender,birthdate": "bcad",
    "identifier,-_lastUpdated": "bdac",
    "gender,_lastUpdated": "adcb",
}


def test_a_search_is_sorted_as_asked_and_what_has_no_value_comes_last(people):
    for sort, ids in SORTED.items():
        whole = people.get(f"Patient?_sort={sort}", Prefer="handling=strict")
        page = people.get(f"Patient?_sort={sort}&_count=1")
        told = matches(page)
        for _ in range(3):
            page = followed(people, page)
            told += matches(page)
        back = [*matches(page)]
        for _ in range(3):
            page = followed(people, page, "previous")
            back += matches(page)

        assert "".join(matches(whole)) == ids, sort
        assert "".join(told) == ids, sort
        assert "".join(back) == ids[::-1], sort
        assert "previous" not in links(page)
        assert ("_sort", sort) in self_query(whole)


def test_a_visit_is_sorted_by_its_length_whatever_its_unit_and_by_codes_whatever_their_system(ehr):
    for id_, length, code in [("x", 9, "EMER"), ("y", 10, "AMB"), ("z", 1.5, "IMP")]:
        minutes = {"value": length, "unit": id_}
        visit(ehr, id_, length=minutes, **{"class": {"system": f"urn:{id_}", "code": code}})

    assert matches(ehr.get("Encounter?_sort=length")) == ["z", "x", "y"]
    assert matches(ehr.get("Encounter?_sort=-length")) == ["y", "x", "z"]
    assert matches(ehr.get("Encounter?_sort=class")) == ["y", "x", "z"]


def test_of_a_sort_what_is_not_known_is_left_out_and_said(people):
    answer = people.get("Patient?_sort=colour,_id")

    assert "".join(matches(answer)) == "abcd"
    assert self_query(answer) == [("_sort", "_id")]
    assert len(matches(answer, "outcome") if "id" in answer.found[-1] else answer.found[-1]["issue"]) == 1


# --- parameters that FHIR defines otherwise than by an element alone -----------------------


def test_a_patient_is_found_by_whether_they_died(ehr):
    patient(ehr, "a", deceasedBoolean=True)
    patient(ehr, "b", deceasedDateTime="2026-03-01")
    patient(ehr, "c", deceasedBoolean=False)
    patient(ehr, "d")

    assert sorted(matches(ehr.get("Patient?deceased=true"))) == ["a", "b"]
    assert sorted(matches(ehr.get("Patient?deceased=false"))) == ["c", "d"]
    assert sorted(matches(ehr.get("Patient?deceased:not=true"))) == ["c", "d"]
    assert matches(ehr.get("Patient?deceased:missing=true")) == []


def test_an_observation_is_found_by_a_code_together_with_a_date(ehr):
    for id_, code, date in [
        ("a", "8665-2", "2026-03-01"),
        ("b", "8665-2", "2026-05-01"),
        ("c", "9999-9", "2026-05-01"),
    ]:
        observation = {"resourceType": "Observation", "id": id_, "status": "final", "valueDateTime": date}
        ehr.put(
            f"Observation/{id_}", observation | {"code": {"coding": [{"system": "http://loinc.org", "code": code}]}}
        )

    def found(value):
        return sorted(matches(ehr.get(f"Observation?code-value-date={value}", Prefer="handling=strict")))

    assert found("8665-2$2026-05") == ["b"]
    assert found("http://loinc.org|8665-2$lt2026-05") == ["a"]
    assert found("8665-2$gt2026-02") == ["a", "b"]
    assert found("8665-2$sa2026-05-01") == []
    assert found("8665-2$ne2026-05-01,9999-9$ge2026-05-01") == ["a", "c"]


def test_a_device_is_found_by_its_udi(ehr):
    carrier = {"deviceIdentifier": "09504000059118", "carrierHRF": "(01)09504000059118(17)141120"}
    ehr.put("Device/a", {"resourceType": "Device", "id": "a", "udiCarrier": [carrier]})

    assert matches(ehr.get("Device?udi-di=09504000059118")) == ["a"]
    assert matches(ehr.get("Device?udi-carrier=(01)0950")) == ["a"]
    assert matches(ehr.get("Device?udi-di=1")) == []


@pytest.mark.parametrize("name", ["_text", "_content", "_list", "_filter", "_query", "_contained"])
def test_a_parameter_of_all_types_that_is_not_served_is_refused_or_visibly_ignored(people, name):
    strict = people.get(f"Patient?{name}=x&gender=male", Prefer="handling=strict")
    lenient = people.get(f"Patient?{name}=x&gender=male", Prefer="handling=lenient")
    found = lenient.json["entry"]

    assert (strict.status, strict.issue["code"]) == (400, "not-supported")
    assert name in strict.issue["details"]["text"]
    assert matches(lenient) == ["c"]
    assert self_query(lenient) == [("gender", "male")]
    (issue,) = found[-1]["resource"]["issue"]
    assert (found[-1]["search"]["mode"], issue["severity"]) == ("outcome", "warning")
    assert name in issue["details"]["text"]
    assert people.call("DELETE", f"Patient?{name}=x&gender=male").status == 400
    assert people.get("Patient?gender=male").json["total"] == 1


# --- numbers ------------------------------------------------------------------------------


def test_the_total_counts_all_pages_and_stays_the_same_on_each(people):
    for asked in ("", "&_total=accurate", "&_total=estimate"):
        page = people.get(f"Patient?_count=3&gender=male,female,other{asked}")
        patient(people, clock.new_id())

        assert page.json["total"] == 4
        assert followed(people, page).json["total"] == 4


def test_no_total_is_counted_when_none_is_wanted(people):
    page = people.get("Patient?_count=3&_total=none")

    assert "total" not in page.json
    assert "total" not in followed(people, page).json
    assert ("_total", "none") in self_query(page)


def test_a_count_alone_has_no_entries_and_no_further_page(people):
    for asked in ("_count=0", "_summary=count"):
        answer = people.get(f"Patient?gender=female&{asked}")

        assert answer.json["total"] == 2
        assert "entry" not in answer.json
        assert list(links(answer)) == ["self"]


def test_more_than_is_given_at_once_is_given_at_most_and_self_says_so(people):
    answer = people.get("Patient?_count=100000")
    assert self_query(answer) == [("_count", "200")]


# --- where --------------------------------------------------------------------------------


@pytest.fixture
def ward(ehr):
    """Two patients, of whom one lives only in the EHR."""
    patient(ehr, "here", name=[{"family": "Meier"}])
    visit(ehr, "one", "here")
    visit(ehr, "two", "elsewhere")
    recording = media("one", subject={"reference": "Patient/here"})
    ehr.put("Device/mic", example("device", id="mic"))
    assert ehr.post("Media", recording).status == 201
    return ehr


def types(answer: Answer) -> list[str]:
    return sorted(resource["resourceType"] for resource in answer.found)


def test_the_whole_system_is_searched_for_what_all_its_types_have(ward):
    before = ward.get("?_type=Patient").found[0]["meta"]["lastUpdated"]

    assert types(ward.get("?_type=Patient,Encounter")) == ["Encounter", "Encounter", "Patient"]
    assert types(ward.get("?_type=Patient,Encounter&_id=one,here")) == ["Encounter", "Patient"]
    assert {"Device", "Encounter", "Media", "Patient", "Task"} <= {*types(ward.get(""))}
    assert "Patient" not in types(ward.get(f"?_lastUpdated=gt{before}"))
    assert matches(ward.get("?_type=Encounter,Media&encounter=one")) == []


def test_the_system_is_searched_by_post_too(ward):
    answer = ward.post("_search", b"_type=Patient&_id=here", Content_Type=FORM)

    assert matches(answer) == ["here"]
    assert self_query(answer) == [("_type", "Patient"), ("_id", "here")]


def test_a_parameter_that_only_some_of_the_types_have_is_refused(ward):
    answer = ward.get("?_type=Patient,Encounter&family=Meier")
    assert (answer.status, answer.issue["code"]) == (400, "not-supported")


def test_a_type_that_is_not_served_cannot_be_searched_for(ward):
    assert ward.get("?_type=Patient,Condition").status == 404


@pytest.mark.usefixtures("ward")
def test_a_system_search_tells_only_of_types_the_token_allows(new_ehr):
    limited = new_ehr("system/Patient.s")

    assert types(limited.get("")) == ["Patient"]
    assert limited.get("?_type=Encounter").status == 403


BELONGING = {
    "Patient/here/Encounter": ["Encounter"],
    "Patient/here/Media": ["Media"],
    "Patient/here/Observation": [],
    "Patient/elsewhere/Encounter": ["Encounter"],
    "Patient/nobody/*": [],
    "Encounter/one/Media": ["Media"],
    "Encounter/one/Media?status=completed": [],
    "Encounter/one/*?_type=Media,Task": ["Media", "Task", "Task"],
    "Encounter/two/*": ["Encounter", "Task"],
}


def test_a_compartment_holds_what_belongs_to_it(ward):
    for path, found in BELONGING.items():
        answer = ward.get(path)

        assert types(answer) == found, path
        assert links(answer)["self"].partition("/fhir/")[2] == path


def test_all_of_a_patient_is_found_page_by_page_without_naming_the_patient_in_a_link(ward):
    answer = ward.get("Patient/here/*?_count=1&_sort=_id")
    found, more = types(answer), links(answer)
    while "next" in more:
        assert "here" not in more["next"]
        answer = followed(ward, answer)
        found, more = [*found, *types(answer)], links(answer)

    assert sorted(found) == ["Encounter", "Media", "Patient", "Task", "Task"]


def test_a_compartment_is_searched_by_post_too(ward):
    answer = ward.post("Patient/here/Encounter/_search", b"status=in-progress", Content_Type=FORM)
    assert matches(answer) == ["one"]


def test_what_is_no_compartment_says_so(ward):
    for path in ("Patient/here/Device", "Device/mic/Media", "Patient/here/Condition", "Group/g/*"):
        answer = ward.get(path)
        assert (answer.status, answer.issue["code"]) == (404, "not-supported"), path


@pytest.mark.usefixtures("ward")
def test_a_compartment_shows_only_types_the_token_allows(new_ehr):
    assert types(new_ehr("system/Media.rs").get("Encounter/one/*")) == ["Media"]
    assert new_ehr("system/Media.rs").get("Encounter/one/Encounter").status == 403


# --- chains, includes ---------------------------------------------------------------------


CHAINED = {
    "Encounter?subject:Patient.family=meier": ["one"],
    "Encounter?patient.family=meier&status=in-progress": ["one"],
    "Encounter?patient.family=nobody": [],
    "Encounter?patient._id=here": ["one"],
    "Patient?_has:Encounter:patient:status=in-progress": ["here"],
    "Patient?_has:Encounter:patient:status=planned": [],
}
TOO_FAR = [
    "Media?encounter.patient.family=x",
    "Patient?_has:Encounter:patient:_has:Media:encounter:status=x",
    "Media?encounter._has:Task:focus:status=x",
    "Encounter?_include=*",
    "Encounter?_include=Encounter:*",
    "Encounter?_revinclude=*:encounter",
    "Encounter?_include=Encounter:patient&_summary=text",
    "Encounter?_include:recurse=Encounter:patient",
]


def test_a_chain_and_its_reverse_go_one_step(ward):
    for query, found in CHAINED.items():
        assert matches(ward.get(query)) == found, query


def test_what_goes_further_than_is_served_is_refused(ward):
    for query in TOO_FAR:
        answer = ward.get(query)
        assert (answer.status, answer.json["resourceType"]) == (400, "OperationOutcome"), query


def test_includes_go_on_when_asked_to_and_each_comes_once(ward):
    near = ward.get("Media?_include=Media:encounter&_include=Encounter:patient")
    far = ward.get("Media?_include=Media:encounter&_include:iterate=Encounter:patient&_include=Media:subject")

    assert matches(near, "include") == ["one"]
    assert sorted(matches(far, "include")) == ["here", "one"]
    assert far.json["total"] == 1


def test_includes_are_those_of_the_page(ward):
    page = ward.get("Encounter?_sort=_id&_count=1&_include=Encounter:patient&_revinclude=Media:encounter")

    assert matches(page) == ["one"]
    assert len(matches(page, "include")) == 2
    assert matches(followed(ward, page), "include") == []


def test_an_include_that_is_not_known_is_ignored_and_said(ward):
    answer = ward.get("Encounter?_include=Encounter:colour&_id=one")

    assert self_query(answer) == [("_id", "one")]
    assert answer.found[-1]["issue"][0]["severity"] == "warning"


# --- parts --------------------------------------------------------------------------------


@pytest.fixture
def rich(ehr):
    narrative = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
    patient(ehr, "p", text=narrative, gender="female", maritalStatus={"text": "married"}, active=True)
    return ehr


PARTS = {
    "_summary=true": ({"gender", "active"}, {"text", "maritalStatus"}),
    "_summary=text": ({"text"}, {"gender", "maritalStatus"}),
    "_summary=data": ({"gender", "maritalStatus"}, {"text"}),
    "_elements=gender": ({"gender", "active"}, {"text", "maritalStatus"}),
    "_elements=gender,maritalStatus": ({"gender", "maritalStatus"}, {"text"}),
}


def test_a_part_is_what_was_asked_for_and_says_that_it_is_one(rich):
    for asked, (there, missing) in PARTS.items():
        answer = rich.get(f"Patient?{asked}")
        (found,) = answer.found

        assert there <= found.keys(), asked
        assert not missing & found.keys(), asked
        assert found["meta"]["tag"][-1]["code"] == "SUBSETTED"
        assert self_query(answer) == [tuple(asked.split("="))]


def test_the_whole_is_given_when_no_summary_is_wanted(rich):
    (found,) = rich.get("Patient?_summary=false").found

    assert {"text", "gender", "maritalStatus"} <= found.keys()
    assert "tag" not in found["meta"]


def test_a_summary_leaves_parts_of_what_is_included_and_elements_leave_it_whole(rich):
    visit(rich, "v", "p")

    (_, summed) = rich.get("Encounter?_include=Encounter:patient&_summary=true").found
    (_, whole) = rich.get("Encounter?_include=Encounter:patient&_elements=status").found

    assert "maritalStatus" not in summed
    assert "maritalStatus" in whole


# --- what is used -------------------------------------------------------------------------


def test_self_tells_exactly_what_was_used(people):
    answer = people.get("Patient?gender=female&colour=blue&birthdate=ge1950-01-01&family=&_count=7&_sort=-birthdate")

    used = [("gender", "female"), ("birthdate", "ge1950-01-01"), ("_count", "7"), ("_sort", "-birthdate")]
    assert self_query(answer) == used
    assert matches(people.get(links(answer)["self"].partition("/fhir/")[2])) == matches(answer)


def test_self_finds_the_same_again_whatever_characters_it_has(ehr):
    for query in ("date=ge2024-01-01T00:00:00%2B01:00", r"identifier=a\,b|c%26d", "class=%C3%A9|x"):
        first = ehr.get(f"Encounter?{query}")
        again = ehr.get(links(first)["self"].partition("/fhir/")[2])

        assert self_query(first) == self_query(again) == parse_qsl(query)


def test_a_search_by_post_reads_the_url_too_and_goes_on_by_get(people):
    answer = people.post("Patient/_search?gender=female", b"_sort=_id&_count=1", Content_Type=FORM)

    assert matches(answer) == ["a"]
    assert matches(followed(people, answer)) == ["d"]
    assert self_query(answer) == [("gender", "female"), ("_sort", "_id"), ("_count", "1")]


def test_a_search_by_post_with_another_body_is_refused_before_it_finds_everything(people):
    for path in ("Patient/_search", "_search", "Patient/a/Encounter/_search"):
        assert people.post(path, b'{"family":"x"}', Content_Type="application/json").status == 415
        assert people.post(path, b"family=x", Content_Type="").status == 415
        assert people.post(path, b"").status == 200


# --- pages --------------------------------------------------------------------------------


def test_pages_go_on_as_they_began_whatever_is_written_deleted_and_renewed_meanwhile(ehr):
    for n in range(6):
        patient(ehr, f"p{n}", birthDate=f"19{n}0-01-01")
    page = ehr.get("Patient?_sort=birthdate&_count=2&birthdate=gt1890")
    seen = matches(page)
    for n in (1, 2):
        patient(ehr, f"new{n}", birthDate="1901-01-01")
        assert ehr.call("DELETE", f"Patient/p{2 * n}").status == 204
        sent = {"resourceType": "Patient", "id": f"p{2 * n + 1}", "birthDate": "1800-01-01"}
        assert ehr.put(f"Patient/p{2 * n + 1}", sent).status == 200
        ehr._token = ""
        page = followed(ehr, page)
        seen += matches(page)
    back = followed(ehr, page, "previous")

    assert seen == [f"p{n}" for n in range(6)]
    assert matches(back) == ["p2", "p3"]
    assert matches(followed(ehr, back)) == ["p4", "p5"]
    assert "next" not in links(page)


def test_a_page_link_carries_no_word_of_the_search_or_of_a_patient(people):
    page = people.post("Patient/_search", b"family=meier,abel,oster&_sort=family&_count=1", Content_Type=FORM)
    further = followed(people, page)

    for url in (links(page)["next"], links(further)["next"], links(further)["previous"]):
        assert not any(word in url.lower() for word in ("meier", "abel", "oster", "family", "sort"))


def test_links_do_not_grow_from_page_to_page(ehr):
    ehr.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [created(n) for n in range(60)]})
    page = ehr.get("Patient?_count=1&_sort=birthdate")
    first = len(links(page)["next"])
    for _ in range(50):
        page = followed(ehr, page)

    assert len(links(page)["next"]) < first + 100


def created(n: int) -> dict[str, Any]:
    resource = {"resourceType": "Patient", "birthDate": f"{1800 + n % 200}-01-01"}
    return {"resource": resource, "request": {"method": "POST", "url": "Patient"}}


def test_a_page_whose_keys_are_gone_says_search_again(people, bridge):
    page = people.get("Patient?_count=2&gender=female,male,other")
    patient(people, "later")
    assert people.put("Patient/later", {"resourceType": "Patient", "id": "later"}).status == 200

    bridge.store.write(lambda conn: past_keys.drop(conn, "default", before_ms=now_ms() + 1))

    answer = followed(people, page)
    assert (answer.status, answer.issue["code"]) == (410, "deleted")


def test_a_page_link_lasts_an_hour(people):
    page = people.get("Patient?_count=2")

    class Later(clock.Clock):
        seconds = 3590

        def now(self):
            return super().now() + timedelta(seconds=self.seconds)

    later = Later()
    with clock.use(later):
        people._token = ""
        assert followed(people, page).status == 200
        later.seconds = 3610
        people._token = ""
        assert followed(people, page).status == 410


# --- unchanged ----------------------------------------------------------------------------


ASKED_AGAIN = [
    "Encounter?status=in-progress",
    "Encounter?_count=1",
    "Encounter/_history",
    "_history?_count=2",
    "Patient/here/*",
    "Encounter/one/$everything",
    "?_type=Encounter",
    "Encounter?_total=none&_elements=status",
]


def test_an_answer_that_has_not_changed_is_answered_with_304(ward):
    tags = {path: ward.get(path).headers["ETag"] for path in ASKED_AGAIN}
    again = {path: ward.get(path, If_None_Match=f'W/"x", {tag}') for path, tag in tags.items()}
    others = [ward.get(path, If_None_Match='W/"x"') for path in ASKED_AGAIN]
    visit(ward, "three", "here")
    assert ward.put("Encounter/one", ward.get("Encounter/one").json | {"priority": {"text": "x"}}).status == 200
    changed = {path: ward.get(path, If_None_Match=tag) for path, tag in tags.items()}

    assert {(each.status, each.raw) for each in again.values()} == {(304, b"")}
    assert {path: each.headers["ETag"] for path, each in again.items()} == tags
    assert {each.status for each in (*others, *changed.values())} == {200}
    assert not [path for path, each in changed.items() if each.headers["ETag"] == tags[path]]


def test_a_search_that_finds_less_has_changed(people):
    first = people.get("Patient?gender=female&_total=none")
    people.call("DELETE", "Patient/d")

    assert people.get("Patient?gender=female&_total=none", If_None_Match=first.headers["ETag"]).status == 200
