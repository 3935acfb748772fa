from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from meaning import holds

from fhir_bridge.errors import BadParameter, BridgeError, NoSuchRoute, NotSupported
from fhir_bridge.fhir.rest import values
from fhir_bridge.fhir.rest.criteria import (
    AnyOf,
    Chained,
    Contains,
    Either,
    Ids,
    Include,
    Present,
    Reversed,
    Sort,
    StartsWith,
    Updated,
    Within,
    Without,
)
from fhir_bridge.fhir.rest.keys import keys_of
from fhir_bridge.fhir.rest.search import MOST_PARAMETERS, not_served, parse, query_of
from fhir_bridge.fhir.rest.served import BY_TYPE, IDENTIFIER, NOT_SERVED, OF_TYPE, TEXT
from fhir_bridge.fhir.rest.values import MOST_ALTERNATIVES

BASE = "https://bridge/fhir"
DAYS = st.dates(min_value=datetime(2020, 1, 1, tzinfo=UTC).date(), max_value=datetime(2020, 1, 12, tzinfo=UTC).date())


STATUS = "http://hl7.org/fhir/encounter-status|"
EVERY_TYPE = tuple(type_ for type_ in BY_TYPE if type_ != "AuditEvent")


def one(type_: str, name: str, value: str):
    (criterion,) = parse(type_, [(name, value)], base=BASE, strict=True).criteria
    return criterion


# --- tokens ------------------------------------------------------------------------------


def test_a_comma_is_or_and_a_second_parameter_is_and():
    request = parse("Encounter", [("status", "planned,finished"), ("class", "AMB"), ("class", "urn:x|")])

    assert request.criteria == (AnyOf(101, ("planned", "finished")), AnyOf(102, ("AMB",)), StartsWith(102, "urn:x|"))


@pytest.mark.parametrize(
    ("value", "criterion"),
    [
        ("v", AnyOf(100, ("v",))),
        ("urn:s|v", AnyOf(100, ("urn:s|v",))),
        ("|v", AnyOf(100, ("|v",))),
        ("urn:s|", StartsWith(100, "urn:s|")),
        (r"a\,b", AnyOf(100, ("a,b",))),
        (r"a\|b", AnyOf(100, (r"a\|b",))),
        (r"a\\,b\$c", AnyOf(100, (r"a\\", "b$c"))),
        ("a\\", AnyOf(100, (r"a\\",))),
        ("v,,urn:s|", Either((AnyOf(100, ("v",)), StartsWith(100, "urn:s|")))),
    ],
)
def test_a_token_is_a_code_with_or_without_system_and_its_escapes_are_resolved(value: str, criterion: object):
    assert one("Encounter", "identifier", value) == criterion


def test_not_and_missing_turn_a_criterion_round():
    assert one("Encounter", "status:not", "planned,finished") == Without(AnyOf(101, ("planned", "finished")))
    assert one("Encounter", "date:missing", "false") == Present(104)
    assert one("Encounter", "class:missing", "true") == Without(Either((Present(102), Present(102 + TEXT))))
    assert one("Encounter", "subject:missing", "false") == Either((Present(106), Present(106 + IDENTIFIER)))


def test_a_token_is_found_by_its_words_and_an_identifier_by_its_type():
    assert one("Observation", "code:text", "Vital  Signs") == StartsWith(600 + TEXT, "vital signs")
    assert one("Encounter", "identifier:of-type", "urn:t|VN|7") == AnyOf(100 + OF_TYPE, ("urn:t|VN|7",))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("identifier", "|"),
        ("identifier", "a|b|c"),
        ("identifier", ","),
        ("identifier:of-type", "VN|7"),
        ("identifier:of-type", "urn:t||7"),
        ("status:missing", "yes"),
        ("subject", "Patient/a b"),
        ("subject:Patient", "Group/1"),
        ("subject:identifier", "|"),
        ("date", "yesterday"),
        ("date", "2024-13"),
        ("length", "many"),
        ("length", "5|min"),
        ("length", "5|urn:u|"),
        ("class:text", "\u0301"),
        ("_lastUpdated", "gt"),
        ("_count", "-1"),
        ("_count", "ten"),
        ("_count:x", "1"),
        ("_summary", "all"),
        ("_total", "exact"),
        ("_elements", "Encounter.status"),
        ("_elements:x", "subject,class"),
        ("status", "a\0b"),
        ("status", "\ud800"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused(name: str, value: str):
    with pytest.raises(BadParameter) as refused:
        parse("Encounter", [(name, value)])

    assert refused.value.status == 400
    assert value not in refused.value.text or len(value) == 1


@pytest.mark.parametrize(
    "name",
    [
        "status:in",
        "status:above",
        "class:of-type",
        "status:",
        "date:exact",
        "length:exact",
        "subject:Practitioner",
        "subject:text",
        "_id:missing",
        "_lastUpdated:missing",
        "_profile:contains",
        "class:b c",
        "_include:recurse",
        "_sort:asc",
        "patient.organization.name",
        "_has:Observation:encounter:patient.name",
        "_has:Observation:encounter:_has:Provenance:target:agent",
    ],
)
def test_a_modifier_or_step_that_is_not_served_is_refused_even_leniently(name: str):
    with pytest.raises(NotSupported) as refused:
        parse("Encounter", [(name, "1")])

    assert refused.value.status == 400


def test_a_composite_has_no_modifier():
    with pytest.raises(NotSupported, match="code-value-quantity does not support the modifier :text"):
        parse("Observation", [("code-value-quantity:text", "8480-6$120")])


def test_a_composite_of_what_cannot_stand_in_one_is_our_own_fault():
    with pytest.raises(NotImplementedError):
        values._paired("code", Either(()))


def test_a_refused_modifier_is_named():
    with pytest.raises(NotSupported, match="status does not support the modifier :in"):
        parse("Encounter", [("status:in", "urn:vs")])


# --- strings, uris -----------------------------------------------------------------------


def test_a_string_begins_is_exact_or_contains():
    assert one("Patient", "family", "Mül") == StartsWith(202, "mul")
    assert one("Patient", "family:exact", "Müller") == AnyOf(202 + TEXT, ("Müller",))
    assert one("Patient", "family:contains", "LL") == Contains(202, "ll")
    with pytest.raises(NotSupported):
        one("Patient", "family:text", "x")


def test_a_profile_is_found_exactly_or_below():
    assert one("Patient", "_profile", "http://x/a") == AnyOf(7, ("http://x/a",))
    assert one("Patient", "_profile:below", "http://x/") == Either(
        (AnyOf(7, ("http://x/",)), StartsWith(7, "http://x/"))
    )


# --- references --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "criterion"),
    [
        ("patient", "1", AnyOf(105, ("Patient/1",))),
        ("patient", "Patient/1", AnyOf(105, ("Patient/1",))),
        ("patient", f"{BASE}/Patient/1", AnyOf(105, ("Patient/1",))),
        ("patient", "https://other/Patient/1", AnyOf(105, ("https://other/Patient/1",))),
        ("subject", "1", AnyOf(106, ("Patient/1", "Group/1"))),
        ("subject:Group", "1", AnyOf(106, ("Group/1",))),
        ("subject:Group", "Group/1", AnyOf(106, ("Group/1",))),
        ("subject:identifier", "urn:mrn|7", AnyOf(106 + IDENTIFIER, ("urn:mrn|7",))),
        ("subject:identifier", "7", AnyOf(106 + IDENTIFIER, ("7",))),
    ],
)
def test_a_reference_is_an_id_a_type_with_id_or_a_url(name: str, value: str, criterion: object):
    assert one("Encounter", name, value) == criterion


def test_an_id_alone_may_be_of_any_type_where_fhir_says_any():
    assert one("Provenance", "target", "1") == AnyOf(
        900, tuple(f"{type_}/1" for type_ in BY_TYPE if type_ != "AuditEvent")
    )


def test_a_chain_goes_one_step():
    assert one("Encounter", "patient.identifier", "s|v") == Chained(105, ("Patient",), AnyOf(200, ("s|v",)))
    assert one("Encounter", "subject:Patient.family", "Li") == Chained(106, ("Patient",), StartsWith(202, "li"))
    assert one("Observation", "encounter._id", "e1") == Chained(606, ("Encounter",), Ids(("e1",)))


def test_a_chain_over_several_types_looks_into_each_that_knows_the_parameter():
    assert one("Observation", "derived-from.status", "current") == Either(
        (
            Chained(607, ("DocumentReference",), AnyOf(701, ("current",))),
            Chained(607, ("Media",), AnyOf(501, ("current",))),
            Chained(607, ("Observation",), AnyOf(602, ("current",))),
        )
    )


def test_has_goes_one_step_back():
    assert one("Encounter", "_has:Observation:encounter:code", "urn:c|1") == Reversed(
        "Observation", 606, AnyOf(600, ("urn:c|1",))
    )


@pytest.mark.parametrize(
    "name",
    [
        "colour",
        "colour:not",
        "status.code",
        "patient.colour",
        "subject:Device.type",
        "colour.name",
        "_has:Claim:encounter:code",
        "_has:Observation:code:code",
        "_has:Observation:patient:code",
        "_has:Observation:encounter:colour",
        "_has:Observation",
        "_type",
        "_text",
        "_content",
        "_list",
        "_filter",
        "_query",
        "_contained",
        "_containedType",
        "_has",
    ],
)
def test_an_unknown_parameter_is_left_out_with_a_word_or_refused_strictly(name: str):
    request = parse("Encounter", [(name, "1"), ("status", "planned")])

    assert request.unknown == (name,)
    assert request.criteria == (AnyOf(101, ("planned",)),)
    assert query_of(request) == "status=planned"
    with pytest.raises(NotSupported) as refused:
        parse("Encounter", [(name, "1")], strict=True)
    assert name in refused.value.text


@pytest.mark.parametrize("name", NOT_SERVED)
def test_why_a_parameter_of_every_type_is_not_served_is_said(name: str):
    with pytest.raises(NotSupported) as refused:
        parse("Patient", [(name, "1")], strict=True)

    assert NOT_SERVED[name] in refused.value.text
    assert NOT_SERVED[name] in not_served(f"{name}:exact")


def test_what_a_result_parameter_names_is_not_called_a_parameter():
    assert not_served("_sort") == "_sort names what is not known here"


def test_an_unknown_name_is_repeated_only_when_it_looks_like_one():
    assert parse("Encounter", [("Anna Müller, born 1970", "x")]).unknown == ("a parameter",)


# --- dates and numbers: the meaning, against keys -----------------------------------------


def meant(prefix: str, low: datetime, after: datetime, start: datetime, end: datetime | None) -> bool:
    """R4's table of prefixes over [low, after) as asked and [start, end) as stored."""
    end = end or datetime.max.replace(tzinfo=UTC)
    inside = low <= start and end <= after
    return {
        "": inside,
        "eq": inside,
        "ne": not inside,
        "gt": end > after,
        "lt": start < low,
        "ge": end > after or inside,
        "le": start < low or inside,
        "sa": start >= after,
        "eb": end <= low,
    }[prefix]


@given(st.sampled_from(["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]), DAYS, DAYS, st.none() | DAYS)
def test_date_prefixes_compare_ranges_as_fhir_says(prefix, asked, first, last):
    if last is not None and last < first:
        first, last = last, first
    json = {"resourceType": "Encounter", "period": {"start": str(first)} | ({"end": str(last)} if last else {})}
    midnight = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (asked, first, last or first)]
    day = timedelta(days=1)

    found = holds(one("Encounter", "date", f"{prefix}{asked}"), keys_of(json))

    end = midnight[2] + day if last else None
    assert found == meant(prefix, midnight[0], midnight[0] + day, midnight[1], end)


def test_about_a_day_is_the_day_with_its_neighbours():
    asked = one("Encounter", "date", "ap2024-03-10")

    assert asked == Within(104, "ap", "20240309000000000000", "20240311235959999999")
    assert one("Encounter", "date", "ap9999-12-31").high <= "99991231235959999999"
    assert one("Encounter", "date", "ap0001-01-01").low == "00010101000000000000"


def test_a_zone_whose_plus_arrived_as_a_blank_is_read():
    assert one("Encounter", "date", "2024-03-10T10:00:00 02:00") == one("Encounter", "date", "2024-03-10T08:00:00Z")


@pytest.mark.parametrize(
    ("value", "spans"),
    [
        ("1970-01-01T00:00:01Z", ((1000, 2000),)),
        ("eq1970-01-01T00:00:00.0015Z", ((2, 2),)),
        ("ne1970-01-01T00:00:01Z", ((None, 1000), (2000, None))),
        ("gt1970-01-01T00:00:01.123Z", ((1124, None),)),
        ("sa1970-01-01T00:00:01.123Z", ((1124, None),)),
        ("ge1970-01-01T00:00:01.123Z", ((1123, None),)),
        ("lt1970-01-01T00:00:01.123Z", ((None, 1123),)),
        ("eb1970-01-01T00:00:01.123Z", ((None, 1123),)),
        ("le1970-01-01T00:00:01.123Z", ((None, 1124),)),
        ("ap1970-01-01T00:00:01Z", ((0, 3000),)),
        ("1970-01-01T00:00:01Z,gt1970-01-02T00:00:00Z", ((1000, 2000), (86_401_000, None))),
    ],
)
def test_last_updated_becomes_spans_of_milliseconds(value: str, spans: object):
    assert one("Encounter", "_lastUpdated", value) == Updated(spans)


def length(value: Decimal, **unit: str) -> tuple:
    return keys_of({"resourceType": "Encounter", "length": {"value": value, **unit}})


@pytest.mark.parametrize(
    ("asked", "matching", "others"),
    [
        ("100", ["99.5", "100", "100.49"], ["99.49", "100.5", "101"]),
        ("1e2", ["50", "149.9"], ["49.9", "150"]),
        ("ne100", ["99.49", "100.5"], ["99.5", "100.49"]),
        ("gt100", ["100.0000001", "1e9"], ["100", "100.00", "-1e9"]),
        ("sa-5", ["-4.9", "0"], ["-5", "-5.1"]),
        ("ge100", ["100.0", "101"], ["99.999"]),
        ("lt-5", ["-5.01", "-1e9"], ["-5", "0"]),
        ("eb0", ["-0.001"], ["0", "1"]),
        ("le0", ["0", "-3"], ["0.001"]),
        ("ap50", ["45", "55"], ["44.9", "55.1"]),
        ("+5", ["5"], ["-5"]),
    ],
)
def test_number_prefixes_know_the_precision_of_the_asked_value(asked: str, matching: list, others: list):
    criterion = one("Encounter", "length", f"{asked}|urn:ucum|min")

    for text in matching:
        assert holds(criterion, length(Decimal(text), system="urn:ucum", code="min")), text
    for text in others:
        assert not holds(criterion, length(Decimal(text), system="urn:ucum", code="min")), text


@pytest.mark.parametrize("asked", ["gt3", "5", "ne7", "le9"])
def test_a_quantity_in_another_unit_does_not_match(asked: str):
    minutes = length(Decimal(5), system="urn:ucum", code="min", unit="Minuten")

    assert holds(one("Encounter", "length", asked), minutes)
    assert holds(one("Encounter", "length", f"{asked}||min"), minutes)
    assert holds(one("Encounter", "length", f"{asked}||Minuten"), minutes)
    assert not holds(one("Encounter", "length", f"{asked}||h"), minutes)
    assert not holds(one("Encounter", "length", f"{asked}|urn:other|min"), minutes)


# --- result parameters --------------------------------------------------------------------


def test_result_parameters_are_read_and_shown_in_the_self_link():
    asked = [
        ("_id", "e1,e2"),
        ("_sort", "-date,status,_id,-_lastUpdated"),
        ("_count", "20"),
        ("_total", "accurate"),
        ("_summary", "data"),
        ("_elements", "status,subject,,status"),
        ("_include", "Encounter:subject:Patient"),
        ("_include:iterate", "Patient:colour"),
        ("_revinclude", "Provenance:target"),
        ("_revinclude:iterate", "Task:focus"),
        ("_format", "json"),
        ("_pretty", "true"),
        ("status", ""),
    ]

    request = parse("Encounter", asked)

    assert request.types == ("Encounter",)
    assert request.criteria == (Ids(("e1", "e2")),)
    assert request.sort == (Sort(104, True), Sort(101, False, STATUS), Sort("_id", False), Sort("_lastUpdated", True))  # noqa: FBT003 - the field is the sentence
    assert (request.count, request.total, request.summary) == (20, "accurate", "data")
    assert request.elements == ("status", "subject")
    assert request.includes == (Include("Encounter", 106, ("Patient",), iterate=False),)
    assert request.revincludes == (
        Include("Provenance", 900, EVERY_TYPE, iterate=False),
        Include("Task", 802, EVERY_TYPE, iterate=True),
    )
    assert request.unknown == ("_include:iterate",)
    assert request.used == tuple(pair for pair in asked if pair[0] not in ("_include:iterate", "status"))
    assert "_sort=-date,status,_id,-_lastUpdated&_count=20" in query_of(request)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_include", "Encounter:status"),
        ("_include", "Encounter:colour"),
        ("_include", "Encounter:participant:RelatedPerson"),
        ("_include", "Media:encounter"),
        ("_include", "Encounter:subject:Patient:more"),
        ("_include", "Claim:patient"),
        ("_revinclude", "Media:patient"),
        ("_sort", "colour"),
    ],
)
def test_an_include_or_sort_key_that_is_not_known_is_an_unknown_parameter(name: str, value: str):
    request = parse("Encounter", [(name, value)])

    assert (request.unknown, request.used) == ((name,), ())


@pytest.mark.parametrize("value", ["*", "Encounter:*", "*:subject"])
@pytest.mark.parametrize("name", ["_include", "_revinclude", "_include:iterate"])
def test_an_include_of_everything_is_refused(name: str, value: str):
    with pytest.raises(NotSupported):
        parse("Encounter", [(name, value)])


def test_a_summary_of_text_goes_without_includes():
    with pytest.raises(BadParameter):
        parse("Encounter", [("_summary", "text"), ("_include", "Encounter:subject")])


def test_codes_are_sorted_without_their_system_and_quantities_without_their_unit():
    request = parse("Encounter", [("_sort", "status,class,-length,date")])

    assert request.sort == (
        Sort(101, descending=False, begins=STATUS),
        Sort(102, descending=False, bare=True),
        Sort(108, descending=True, begins="||"),
        Sort(104, descending=False),
    )


def test_only_the_known_part_of_a_sort_is_used():
    request = parse("Encounter", [("_sort", "colour,-date")])

    assert request.used == (("_sort", "-date"),)
    assert request.unknown == ("_sort",)


def test_a_count_of_zero_asks_for_the_total_alone():
    assert parse("Encounter", [("_count", "0"), ("_summary", "true")]).summary == "count"


@pytest.mark.parametrize("name", ["_count", "_summary", "_total"])
def test_an_option_is_given_once(name: str):
    value = {"_count": "1", "_summary": "true", "_total": "none"}[name]

    with pytest.raises(BadParameter, match=f"{name} is given once"):
        parse("Encounter", [(name, value), (name, value)])


# --- searching everything ------------------------------------------------------------------


def test_a_system_search_takes_what_all_its_types_have():
    asked = [("_type", "Encounter,Media"), ("status", "planned"), ("_lastUpdated", "gt2024"), ("_sort", "_tag")]

    request = parse(None, [*asked, ("colour", "x")])

    assert request.types == ("Encounter", "Media")
    assert request.criteria[0] == Either((AnyOf(101, ("planned",)), AnyOf(501, ("planned",))))
    assert request.sort == (Sort(5, descending=False, bare=True),)
    assert (request.unknown, request.used) == (("colour",), tuple(asked))


@pytest.mark.parametrize("name", ["class", "subject.identifier"])
def test_a_filter_that_only_some_of_the_types_have_is_refused(name: str):
    with pytest.raises(NotSupported, match="Not every type"):
        parse(None, [("_type", "Encounter,Media,Patient"), (name, "x")])


def test_a_search_among_some_types_stays_among_them():
    among = ("Encounter", "Media", "Task")

    assert parse(None, [], among=among).types == among
    assert parse(None, [("_type", "Task")], among=among).types == ("Task",)
    with pytest.raises(NoSuchRoute):
        parse(None, [("_type", "Patient,Task")], among=among)


def test_a_system_search_without_type_searches_every_searchable_type():
    request = parse(None, [("_id", "1"), ("_sort", "_lastUpdated,date")])

    assert request.types == tuple(type_ for type_ in BY_TYPE if type_ not in {"Binary", "AuditEvent"})
    assert request.criteria == (Ids(("1",)),)
    assert request.sort == (Sort("_lastUpdated", False),)  # noqa: FBT003 - the field is the sentence


@pytest.mark.parametrize(("type_", "pairs"), [("Binary", []), ("Claim", []), (None, [("_type", "Encounter,Binary")])])
def test_a_type_that_is_not_searched_is_refused(type_: str | None, pairs: list):
    with pytest.raises(NoSuchRoute):
        parse(type_, pairs)


def test_what_is_searched_by_itself_is_named_alone():
    assert parse(None, [("_type", "AuditEvent")]).types == ("AuditEvent",)
    with pytest.raises(NotSupported, match="by itself"):
        parse(None, [("_type", "AuditEvent,Patient")])


# --- limits and chance -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "pairs",
    [[("status", "planned")] * (MOST_PARAMETERS + 1), [("_id", ",".join(["1"] * (MOST_ALTERNATIVES + 1)))]],
)
def test_a_search_that_asks_too_much_at_once_is_refused(pairs: list):
    with pytest.raises(BadParameter) as refused:
        parse("Encounter", pairs)

    assert refused.value.issues[0].code == "too-costly"


NAMES = st.sampled_from(
    [param.name for row in BY_TYPE.values() for param in row.params]
    + ["_id", "_lastUpdated", "_tag", "_profile", "_count", "_sort", "_include", "_revinclude", "_summary", "_total"]
    + ["_elements", "_has", "_type", "_format", "_has:Observation:encounter:", "_has:Task:focus:", "patient.", ""]
)
MODIFIERS = st.sampled_from(
    ["", ":", ":not", ":exact", ":missing", ":text", ":identifier", ":Patient", ":iterate", "."]
)
VALUES = st.sampled_from(
    ["1", "gt2024-01-01", "true", "a|b", "|", "\\", ",", "Patient/1", "1e999", "Encounter:patient"]
)
ANYTHING = st.text()


@given(
    st.sampled_from([*BY_TYPE, None]),
    st.lists(
        st.tuples(
            st.tuples(NAMES | ANYTHING, MODIFIERS | ANYTHING, NAMES | st.just("")).map("".join), VALUES | ANYTHING
        ),
        max_size=4,
    ),
    st.booleans(),
)
@example("Encounter", [("_has:", "1")], False)  # noqa: FBT003 - an example's third value
def test_no_query_string_does_more_harm_than_a_4xx(type_, pairs, strict):
    try:
        request = parse(type_, pairs, strict=strict, base=BASE)
    except BridgeError as refused:
        status = refused.status
    else:
        status = 400
        again = parse(type_, request.used, strict=True, base=BASE)
        assert query_of(request).isascii()
        assert (again.criteria, again.includes, again.sort) == (request.criteria, request.includes, request.sort)
    assert 400 <= status < 500


# --- composites --------------------------------------------------------------------------

PRESSURE = {
    "resourceType": "Observation",
    "id": "o",
    "status": "final",
    "code": {"coding": [{"system": "urn:loinc", "code": "85354-9"}]},
    "valueQuantity": {"value": Decimal(7), "system": "urn:ucum", "code": "a"},
    "component": [
        {"code": {"coding": [{"code": "sys"}]}, "valueQuantity": {"value": Decimal(120), "code": "mm"}},
        {"code": {"coding": [{"code": "dia"}]}, "valueQuantity": {"value": Decimal(80), "code": "mm"}},
        {"code": {"coding": [{"code": "arm"}]}, "valueCodeableConcept": {"coding": [{"code": "left"}]}},
    ],
}
LATER = {
    "resourceType": "DocumentReference",
    "id": "d",
    "status": "current",
    "content": [{"attachment": {"url": "urn:x"}}],
    "relatesTo": [
        {"code": "replaces", "target": {"reference": "DocumentReference/1"}},
        {"code": "signs", "target": {"reference": "DocumentReference/2"}},
    ],
}
DATED = PRESSURE | {"valueQuantity": None, "valueDateTime": "2026-03-01"}
OVER = PRESSURE | {"valueQuantity": None, "valuePeriod": {"start": "2026-03-01", "end": "2026-03-09"}}
OPEN = PRESSURE | {"valueQuantity": None, "valuePeriod": {"start": "2026-03-01"}}
NOTED = PRESSURE | {"valueQuantity": None, "valueString": "Sore Throat"}


@pytest.mark.parametrize(
    ("resource", "query", "is_found"),
    [
        (PRESSURE, "code-value-quantity=85354-9$7", True),
        (PRESSURE, "code-value-quantity=urn:loinc|85354-9$gt6||a", True),
        (PRESSURE, "code-value-quantity=urn:loinc|85354-9$gt7", False),
        (PRESSURE, "code-value-quantity=1$7,85354-9$ne8", True),
        (PRESSURE, "component-code-value-quantity=sys$120", True),
        (PRESSURE, "component-code-value-quantity=sys$80", False),
        (PRESSURE, "component-code-value-quantity=dia$lt100||mm", True),
        (PRESSURE, "component-code-value-quantity=sys$lt100", False),
        (PRESSURE, "component-code-value-concept=arm$left", True),
        (PRESSURE, "component-code-value-concept=sys$left", False),
        (PRESSURE, "component-code-value-concept:missing=true", False),
        (NOTED, "code-value-string=85354-9$sore", True),
        (NOTED, "code-value-string=85354-9$throat", False),
        (DATED, "code-value-date=85354-9$2026-03", True),
        (DATED, "code-value-date=urn:loinc|85354-9$2026-03-01", True),
        (DATED, "code-value-date=85354-9$2026-04", False),
        (DATED, "code-value-date=85354-9$ne2026-04", True),
        (DATED, "code-value-date=85354-9$ge2026-03-01", True),
        (DATED, "code-value-date=85354-9$gt2026-03-01", False),
        (DATED, "code-value-date=85354-9$lt2026-03-02", True),
        (DATED, "code-value-date=85354-8$gt2026-02", False),
        (DATED, "code-value-date=85354-8$sa2026-02", False),
        (DATED, "code-value-date=85354-8$ne2026-02", False),
        (DATED, "code-value-date=9$lt2026-04", False),
        (DATED, "code-value-date=9$eb2026-04", False),
        (OVER, "code-value-date=85354-9$gt2026-03-05", True),
        (OVER, "code-value-date=85354-9$eb2026-03-09", False),
        (OVER, "code-value-date=85354-9$eb2026-03-10", True),
        (OPEN, "code-value-date=85354-9$gt2030", True),
        (OPEN, "code-value-date=85354-9$le2026-03-02", True),
        (LATER, "relationship=DocumentReference/1$replaces", True),
        (LATER, "relationship=2$replaces", False),
        (LATER, "relationship=2$signs", True),
    ],
)
def test_both_parts_of_a_composite_hold_in_one_element(resource: dict, query: str, is_found: bool):  # noqa: FBT001 - a column
    there = {name: value for name, value in resource.items() if value is not None}
    name, _, value = query.partition("=")
    (criterion,) = parse(resource["resourceType"], [(name, value)], strict=True).criteria

    assert holds(criterion, keys_of(there)) is is_found


@pytest.mark.parametrize("value", ["a", "a$", "$1", "a$1$2", "a$x", "urn:s|$1"])
def test_a_composite_that_is_not_whole_is_refused(value: str):
    with pytest.raises(BadParameter):
        parse("Observation", [("code-value-quantity", value)])


def test_a_search_is_not_sorted_by_a_composite():
    assert parse("Observation", [("_sort", "code-value-quantity,date")]).used == (("_sort", "date"),)


@pytest.mark.parametrize(("modifier", "is_found"), [("", False), (":above", True), (":below", False)])
def test_a_uri_is_found_by_what_is_below_it(modifier: str, is_found: bool):  # noqa: FBT001 - a column
    resource = {"resourceType": "Device", "id": "d", "url": "http://acme.example/devices"}
    (criterion,) = parse("Device", [(f"url{modifier}", "http://acme.example/devices/1/parts")], strict=True).criteria

    assert holds(criterion, keys_of(resource)) is is_found
