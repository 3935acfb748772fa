"""Filters: SQL finds what a naive reading of the same nodes finds, at every moment."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_making import MINE, TENANT, new, put

from fhir_bridge import clock
from fhir_bridge.store import Filter, oauth, resources
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
from fhir_bridge.store.rows import key_text, successor

TYPES = ("Encounter", "Patient")
TOKEN, REFERENCE, TEXT, DATE = 1, 2, 3, 4
END = "\U0010ffff"

tokens = st.sampled_from(["a", "b", "urn:s|a", "é"])
references = st.sampled_from([*(f"{type_}/{n}" for type_ in TYPES for n in "12"), "urn:uuid:1", "http://x/Patient/1"])
# Around the holes and the ends of Unicode, where a prefix and its range could part.
texts = st.text(alphabet="abA%_\ud7ff\ue000\U0010ffff", max_size=3)
days = st.integers(10, 16).map(lambda n: f"2026-01-{n}")
date_keys = st.tuples(st.just(DATE), days, st.none() | days).map(
    lambda k: k if k[2] is None else (DATE, *sorted(k[1:]))
)
keys = st.lists(
    st.one_of(
        st.tuples(st.just(TOKEN), tokens),
        st.tuples(st.just(REFERENCE), references),
        st.tuples(st.just(TEXT), texts),
        date_keys,
    ),
    max_size=5,
    unique_by=lambda key: key[:2],
)
places = st.tuples(st.sampled_from(TYPES), st.sampled_from("12"))
# One step of a history: new keys for a resource, or None: it is deleted.
steps = st.lists(st.tuples(places, keys | st.none()), min_size=1, max_size=12)

leaves = st.one_of(
    st.builds(Keys, st.just(TOKEN), st.lists(tokens | st.just("\0"), max_size=2).map(tuple)),
    st.builds(Keys, st.just(REFERENCE), references.map(lambda value: (value,))),
    st.builds(Prefix, st.just(TEXT), texts | st.just("\0")),
    st.builds(Contains, st.just(TEXT), texts | st.just("\0")),
    st.builds(
        lambda span, prefix, begins: Between(DATE, *sorted(span), prefix, begins),
        st.tuples(days, days),
        st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]),
        st.just("") | days,
    ),
    st.builds(Present, st.sampled_from([TOKEN, REFERENCE, TEXT, DATE, 9])),
    st.builds(OfType, st.sampled_from([("Patient",), ("Encounter",), TYPES, ()])),
    st.builds(Ids, st.sampled_from([("1",), ("1", "2"), (), ("\0",)])),
    st.builds(Seq, st.none() | st.integers(0, 8), st.none() | st.integers(0, 8)),
    # Numbers of steps here, which `at_the_times_of` turns into the times they got.
    st.builds(Stamped, st.none() | st.integers(0, 8), st.none() | st.integers(0, 8)),
    st.sampled_from([ALL, NOTHING]),
)
nodes = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Not, inner),
        st.builds(Chain, st.just(REFERENCE), st.sampled_from([("Patient",), TYPES]), inner),
        st.builds(Reverse, st.sampled_from(TYPES), st.just(REFERENCE), inner),
    ),
    max_leaves=6,
)


@dataclass(frozen=True)
class Version:
    """What the naive reading knows of a version."""

    type: str
    id: str
    seq: int
    at_ms: int
    keys: tuple | None

    def of(self, param: int) -> list[tuple]:
        return [(*key, None)[1:3] for key in self.keys or () if key[0] == param]


def compared(node: Between, val: str, high: str | None) -> bool:
    end = END if high is None else high
    within = node.low <= val and end <= node.high
    return {
        "eq": within,
        "ne": not within,
        "gt": end > node.high,
        "lt": val < node.low,
        "ge": end > node.high or within,
        "le": val < node.low or within,
        "sa": val > node.high,
        "eb": end < node.low,
        "ap": val <= node.high and end >= node.low,
    }[node.prefix]


def holds(node, it: Version, now: list[Version]) -> bool:  # noqa: C901, PLR0911, PLR0912 - one case a node
    match node:
        case Keys():
            return any(val in node.values for val, _ in it.of(node.param))
        case Prefix():
            return any(val.startswith(node.text) for val, _ in it.of(node.param))
        case Contains():
            return any(node.text in val for val, _ in it.of(node.param))
        case Stamped():
            early = node.low_ms is not None and it.at_ms < node.low_ms
            return not early and (node.below_ms is None or it.at_ms < node.below_ms)
        case Between():
            return any(compared(node, val, high) for val, high in it.of(node.param) if val.startswith(node.begins))
        case Present():
            return bool(it.of(node.param))
        case OfType():
            return it.type in node.types
        case Ids():
            return it.id in node.ids
        case Seq():
            return (node.after is None or it.seq > node.after) and (node.upto is None or it.seq <= node.upto)
        case And():
            return all(holds(each, it, now) for each in node.nodes)
        case Or():
            return any(holds(each, it, now) for each in node.nodes)
        case Not():
            return not holds(node.node, it, now)
        case Chain():
            named = {val for val, _ in it.of(node.param)}
            targets = [t for t in now if t.type in node.types and f"{t.type}/{t.id}" in named]
            return any(holds(node.inner, t, now) for t in targets)
        case Reverse():
            me = f"{it.type}/{it.id}"
            sources = [s for s in now if s.type == node.type and me in {val for val, _ in s.of(node.param)}]
            return any(holds(node.inner, s, now) for s in sources)


def at_the_times_of(versions: list[Version], node):
    """Replace numbers of steps by their times throughout a node."""

    def time(n: int | None) -> int | None:
        return None if n is None or not versions else versions[min(n, len(versions) - 1)].at_ms + n % 2

    match node:
        case Stamped():
            return Stamped(time(node.low_ms), time(node.below_ms))
        case And() | Or():
            return type(node)(tuple(at_the_times_of(versions, each) for each in node.nodes))
        case Not():
            return Not(at_the_times_of(versions, node.node))
        case Chain() | Reverse():
            return replace(node, inner=at_the_times_of(versions, node.inner))
        case _:
            return node


def current(versions: list[Version], snapshot: int) -> list[Version]:
    latest = {(v.type, v.id): v for v in versions if v.seq <= snapshot}
    return [v for v in latest.values() if v.keys is not None]


def written(store, tenant: str, told) -> list[Version]:
    versions: list[Version] = []
    for (type_, id_), new_keys in told:
        if new_keys is None:
            row = store.write(lambda conn, t=type_, i=id_: resources.remove(conn, tenant, t, i, author=None))
        else:
            (row,) = put(store, new(id_, type_=type_, keys=new_keys), tenant=tenant)
        if row is not None:
            versions.append(Version(type_, id_, row.seq, row.at_ms, None if new_keys is None else tuple(new_keys)))
    return versions


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(told=steps, asked=st.lists(nodes, min_size=1, max_size=6))
def test_a_search_finds_what_a_naive_reading_finds_at_every_moment(store, told, asked):
    tenant = clock.new_id()  # a tenant of its own for each example: none may see another's
    store.write(lambda conn: oauth.add_tenant(conn, oauth.Tenant(tenant, "-")))
    versions = written(store, tenant, told)
    last = versions[-1].seq if versions else 0

    def found(conn):
        for node in (at_the_times_of(versions, each) for each in asked):
            for snapshot in (None, last // 2, last):
                now = current(versions, last if snapshot is None else snapshot)
                wanted = sorted((v.seq for v in now if holds(node, v, now)), reverse=True)
                page = resources.search(conn, Filter(tenant, node), snapshot=snapshot, count=50)
                assert [row.seq for row in page.rows] == wanted, (node, snapshot)
                assert resources.total(conn, Filter(tenant, node), snapshot=snapshot) == len(wanted)

    store.read(found)


@settings(deadline=None)
@given(st.text(alphabet="a\ud7ff\ue000\U0010fffe\U0010ffff", max_size=4), st.text(max_size=6))
def test_the_range_of_a_prefix_is_exactly_the_texts_that_start_with_it(prefix, text):
    end = successor(prefix)

    for each in (text, prefix + text):
        assert each.startswith(prefix) == (prefix <= each and (end is None or each < end))


def test_texts_sort_by_their_code_points_in_the_database(store):
    values = ["", " ", "A", "B", "a", "a b", "aB", "ab", "é", "\ud7ff", "\ue000", "\U00010000", "\U0010ffff"]
    put(store, *(new(f"e{n}", keys=[(DATE, value)]) for n, value in enumerate(values)))

    for value in values:
        where = MINE.narrowed(Between(DATE, value, value, "lt"))
        assert store.read(lambda conn, where=where: resources.total(conn, where)) == values.index(value)


def test_long_values_are_kept_apart_though_no_index_could_hold_them(store):
    long, other = "é" * 5_000 + "a", "é" * 5_000 + "b"
    put(store, new("a", keys=[(TOKEN, long)]), new("b", keys=[(TOKEN, other)]))

    def found(node) -> list[str]:
        return [row.id for row in store.read(lambda conn: resources.search(conn, MINE.narrowed(node), count=9)).rows]

    assert found(Keys(TOKEN, (long,))) == ["a"]
    assert found(Prefix(TOKEN, "é" * 600)) == ["b", "a"]
    assert key_text("short") == "short"


@pytest.mark.parametrize(("ends", "stored"), [(("05", "09"), "09"), (("09", "05"), "09"), ((None, "05"), None)])
def test_two_ranges_from_one_start_are_kept_as_the_longer(store, ends, stored):
    put(store, new(keys=[(DATE, "01", ends[0]), (DATE, "01", ends[1])]))

    ended = store.read(lambda conn: resources.total(conn, Filter(TENANT, Between(DATE, "01", "09", "eq"))))

    assert ended == (stored is not None)
