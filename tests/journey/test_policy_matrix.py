"""What a token reaches, by whatever way, is what its scopes say: compared with a reading of them row by row.

The rows are twice there, in two tenants, under the same ids.
"""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from policy_rows import QUERIES, ROWS, TYPES, Bearer, Door, Given, Row, fill, name, patient_of, row

SCOPES = st.builds(
    Given,
    st.sampled_from(["system", "system", "user", "patient"]),
    st.sampled_from(["*", *TYPES, "Encounter", "Observation"]),
    st.sampled_from(["r", "s", "rs", "cruds", "cud", "ds"]),
    st.just("") | st.sampled_from(sorted(QUERIES)),
)
BEARERS = st.builds(
    Bearer,
    st.lists(SCOPES, min_size=1, max_size=5).map(tuple),
    st.none() | st.just("Practitioner/d1"),
    st.sampled_from([None, "p1", "p2", "nobody"]),
)


@pytest.fixture
def door(app, bridge) -> Door:
    fill(bridge)
    return Door(app)


def matches(bundle: Row, mode: str = "match") -> list[str]:
    return [name(each["resource"]) for each in bundle.get("entry", []) if each.get("search", {}).get("mode") == mode]


def of(type_: str, names: set[str]) -> set[str]:
    return {each for each in names if each.startswith(f"{type_}/")}


def check_reads(door: Door, bearer: Bearer, token: str) -> None:
    reached = bearer.reaches("r")
    for each in (*ROWS, row("Patient/nobody")):
        right = 200 if name(each) in reached else 404 if bearer.has(each["resourceType"], "r") else 403
        assert door.get(token, name(each))[0] == right, name(each)
        assert door.get(token, f"{name(each)}/_history/1")[0] == right, name(each)


def check_searches(door: Door, bearer: Bearer, token: str) -> None:
    reached = bearer.reaches("s")
    for type_ in TYPES:
        expected = of(type_, reached)
        status, bundle = door.get(token, type_)
        assert status == (200 if bearer.has(type_, "s") else 403), type_
        if status == 200:
            assert (sorted(matches(bundle)), bundle["total"]) == (sorted(expected), len(expected))
            assert door.get(token, f"{type_}?_summary=count")[1]["total"] == len(expected)
            assert paged(door, token, f"{type_}?_count=1") == sorted(expected)
            happened = door.get(token, f"{type_}/_history")[1]
            assert {name(each["resource"]) for each in happened.get("entry", [])} == expected


def paged(door: Door, token: str, path: str) -> list[str]:
    found = []
    while path:
        bundle = door.get(token, path)[1]
        found += matches(bundle)
        path = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
    return sorted(found)


def check_chains(door: Door, bearer: Bearer, token: str) -> None:
    """A criterion on another resource sees of it what a search for it would see."""
    reached = bearer.reaches("s")
    males = {"Patient/p1"} & reached
    of_males = {name(each) for each in ROWS if patient_of(each) & males}
    with_final = {
        patient
        for each in ROWS
        if each.get("status") == "final" and name(each) in reached
        for patient in patient_of(each)
    }
    for path, others, expected in (
        ("Observation?patient.gender=male", ["Patient"], of("Observation", reached) & of_males),
        ("Encounter?subject.gender=male", ["Patient"], of("Encounter", reached) & of_males),
        ("Patient?_has:Observation:patient:status=final", ["Observation"], of("Patient", reached) & with_final),
        (
            "Patient?_has:Encounter:patient:_has:Observation:encounter:status=preliminary",
            ["Encounter", "Observation"],
            {"Patient/p1"} & reached if {"Encounter/e1", "Observation/o3"} <= reached else set(),
        ),
    ):
        status, answer = door.get(token, path)
        types = [path.partition("?")[0], *others]
        if not all(bearer.has(type_, "s") for type_ in types):
            assert status in {400, 403}, path
        elif status == 200:  # 400: a depth that is not served
            assert set(matches(answer)) == expected, path


def check_includes(door: Door, bearer: Bearer, token: str) -> None:
    """Included is what may be read or searched; the rest is left out in silence."""
    reached, visible = bearer.reaches("s"), bearer.reaches("r") | bearer.reaches("s")
    path = "Observation?_include=Observation:encounter&_include:iterate=Encounter:patient&_revinclude=Provenance:target"
    status, bundle = door.get(token, path)
    if not bearer.has("Observation", "s"):
        assert status == 403
        return
    found = [each for each in ROWS if name(each) in of("Observation", reached)]
    visits = {each["encounter"]["reference"] for each in found} & visible
    expected = visits | {
        patient for each in ROWS if name(each) in visits for patient in patient_of(each) if patient in visible
    }
    if any(name(each) == "Observation/o1" for each in found):
        expected |= {"Provenance/v1"} & visible
    assert set(matches(bundle, "include")) == expected


def check_everything(door: Door, bearer: Bearer, token: str) -> None:
    readable, visible = bearer.reaches("r"), bearer.reaches("r") | bearer.reaches("s")
    status, bundle = door.get(token, "Encounter/e1/$everything")
    assert status == (200 if "Encounter/e1" in readable else 404 if bearer.has("Encounter", "r") else 403)
    if status == 200:
        found = {name(each["resource"]) for each in bundle["entry"]}
        inside = {"Encounter/e1", "Media/m1", "Task/t1", "Observation/o1", "Observation/o3"}
        assert inside & readable <= found <= visible


def check_links(door: Door, token: str) -> None:
    """A page link is of use to the token that it was given to."""
    other = door.token(Bearer((Given("system", "*", "cruds"), Given("system", "Encounter", "s"))))
    for type_ in TYPES:
        links = door.get(token, f"{type_}?_count=1")[1].get("link", [])
        for link in links:
            if link["relation"] == "next":
                assert door.get(other, link["url"])[0] == 404


ALL = Given("system", "*", "cruds")


def test_a_token_reaches_what_its_scopes_say_and_nothing_else(door):
    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @example(Bearer((ALL,)))
    @example(Bearer((Given("patient", "*", "rs"),), patient="p1"))
    @example(
        Bearer((Given("patient", "*", "cruds"), Given("patient", "Observation", "rs", "status=final")), patient="p2")
    )
    @example(Bearer((Given("patient", "*", "cruds"), Given("user", "*", "cruds"))))
    @example(Bearer((Given("system", "Observation", "s"), Given("system", "Encounter", "r", "status=finished"))))
    @given(BEARERS)
    def check(bearer: Bearer) -> None:
        token = door.token(bearer)
        check_reads(door, bearer, token)
        check_searches(door, bearer, token)
        check_chains(door, bearer, token)
        check_includes(door, bearer, token)
        check_everything(door, bearer, token)
        check_links(door, token)

    check()


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_of_a_scope_lets_through_what_it_says(door, query):
    bearer = Bearer((Given("system", "*", "rs", query),))
    token = door.token(bearer)
    assert {name(each) for each in ROWS if door.get(token, quote(name(each)))[0] == 200} == bearer.reaches("r")
