"""What a filter says of content before it is stored is what it does once it is, or it says that it cannot tell."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_bridge import clock
from fhir_bridge.store import Filter, NewVersion, oauth, resources
from fhir_bridge.store.filter import (
    ALL,
    NOTHING,
    And,
    Between,
    Chain,
    Contains,
    Ids,
    Keys,
    Not,
    OfType,
    Or,
    Prefix,
    Present,
    Reverse,
    Seq,
    Stamped,
)
from fhir_bridge.verbs.holds import holds

WORD, DAY = 1, 2
words = st.sampled_from(["a", "ab", "b", "%"])
days = st.sampled_from(["10", "12", "14"])
keys = st.lists(
    st.one_of(
        st.tuples(st.just(WORD), words, st.none()),
        st.tuples(days, days | st.none()).map(lambda k: (DAY, *(sorted(k) if k[1] else k))),
    ),
    max_size=3,
    unique_by=lambda key: key[:2],
)
told = st.one_of(
    st.builds(Keys, st.just(WORD), st.lists(words, max_size=2).map(tuple)),
    st.builds(Prefix, st.just(WORD), words),
    st.builds(Contains, st.just(WORD), words),
    st.builds(Present, st.sampled_from([WORD, DAY])),
    st.builds(
        lambda low, high, prefix, begins: Between(DAY, *sorted((low, high)), prefix, begins),
        days,
        days,
        st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]),
        st.just("") | days,
    ),
    st.sampled_from([ALL, NOTHING, OfType(("Patient",)), OfType(("Encounter",)), Ids(("1",)), Ids(("2",))]),
)
untold = st.sampled_from([Seq(0), Stamped(0), Chain(WORD, ("Patient",), ALL), Reverse("Patient", WORD, ALL)])


def grown(leaves: st.SearchStrategy) -> st.SearchStrategy:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(And, st.lists(inner, max_size=3).map(tuple)),
            st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
            st.builds(Not, inner),
        ),
        max_leaves=5,
    )


def version(has: list) -> NewVersion:
    return NewVersion("Patient", "1", '{"meta":{', "}}", tuple(has), "POST", None)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(has=keys, nodes=st.lists(grown(told | untold), min_size=1, max_size=8))
def test_what_is_said_before_is_what_is_found_after(store, has, nodes):
    tenant = clock.new_id()
    store.write(lambda conn: oauth.add_tenant(conn, oauth.Tenant(tenant, "-")))
    store.write(lambda conn: resources.put(conn, tenant, (version(has),)))

    for node in nodes:
        said = holds(node, version(has))
        found = store.read(lambda conn, node=node: resources.total(conn, Filter(tenant, node)))
        assert said in {None, bool(found)}, node


@settings(max_examples=60)
@given(has=keys, node=grown(told))
def test_all_that_keys_can_tell_is_told(has, node):
    assert holds(node, version(has)) is not None


@pytest.mark.parametrize("node", [Seq(0), Not(Seq(0)), And((ALL, Seq(0))), Or((NOTHING, Seq(0)))])
def test_what_keys_cannot_tell_is_not_guessed(node):
    assert holds(node, version([])) is None
    assert holds(And((node, NOTHING)), version([])) is False
    assert holds(Or((node, ALL)), version([])) is True
