"""Versions as they are written, read, searched and told as history."""

from __future__ import annotations

import json

import pytest
from store_making import MINE, TENANT, new, put

from fhir_bridge.errors import Forbidden, VersionConflict
from fhir_bridge.store import Filter, oauth, resources
from fhir_bridge.store.filter import Chain, Keys, OfType, Seq
from fhir_bridge.store.history import Told, history, history_total, revived, vread


def ids(page: resources.Page) -> list[str]:
    return [row.id for row in page.rows]


def test_a_version_is_read_back_with_its_number_and_time_in_its_text(store):
    (row,) = put(store, new())

    told = store.read(lambda conn: resources.read(conn, MINE, "Encounter", "e1"))

    assert told == row
    meta = json.loads(told.body)["meta"]
    assert meta == {"versionId": "1", "lastUpdated": told.at}
    assert json.loads(told.body)["status"] == "planned"


def test_an_unknown_tenant_is_refused(store):
    with pytest.raises(Forbidden):
        put(store, new(), tenant="nobody")


def test_an_unknown_tenant_has_an_empty_snapshot(store):
    assert store.read(lambda conn: resources.snapshot(conn, "nobody")) == resources.Snapshot(0, 0, 0)


def test_nothing_to_write_is_nothing_written(store):
    assert put(store) == ()


def test_versions_of_one_write_share_their_time_and_follow_each_other_in_number(store):
    first = put(store, new("a"), new("b"), new("c"))
    second = put(store, new("d"))

    assert [row.seq for row in (*first, *second)] == [1, 2, 3, 4]
    assert len({row.at_ms for row in first}) == 1
    assert second[0].at_ms > first[0].at_ms


def test_a_new_version_replaces_the_one_before_and_its_keys(store):
    put(store, new(keys=[(1, "old")]))
    put(store, new(keys=[(1, "new")], method="PUT"))

    found = store.read(lambda conn: resources.search(conn, MINE.narrowed(Keys(1, ("new",))), count=5))
    lost = store.read(lambda conn: resources.search(conn, MINE.narrowed(Keys(1, ("old",))), count=5))

    assert [(row.id, row.vid, row.method) for row in found.rows] == [("e1", 2, "PUT")]
    assert lost == resources.Page((), None)


def test_two_versions_of_one_resource_in_one_write_follow_each_other(store):
    rows = put(store, new(), new(method="PUT"), new(method="PUT"))

    told = store.read(lambda conn: history(conn, MINE, Told(9), count=9))

    assert [row.vid for row in rows] == [1, 2, 3]
    assert [row.vid for row in told.rows] == [3, 2, 1]
    assert store.read(lambda conn: resources.total(conn, MINE)) == 1


@pytest.mark.parametrize("expect", [0, 2, 7])
def test_a_write_that_expects_another_version_changes_nothing(store, expect):
    put(store, new())

    with pytest.raises(VersionConflict):
        put(store, new("other"), new(expect=expect))

    assert store.read(lambda conn: resources.snapshot(conn, TENANT)).seq == 1


@pytest.mark.parametrize("place", ["version", "whole write"])
def test_a_write_that_expects_the_current_version_is_done(store, place):
    put(store, new())

    (row,) = put(store, new(expect=1)) if place == "version" else put(store, new(), expect=1)

    assert row.vid == 2


def test_a_deleted_resource_is_told_as_deleted_to_whom_it_could_be_seen(store):
    put(store, new(keys=[(1, "mine")]))
    gone = store.write(lambda conn: resources.remove(conn, TENANT, "Encounter", "e1", author="ehr"))

    mine, others = MINE.narrowed(Keys(1, ("mine",))), MINE.narrowed(Keys(1, ("other",)))

    assert gone is not None
    assert (gone.vid, gone.deleted, gone.body, gone.method) == (2, True, "", "DELETE")
    assert store.read(lambda conn: resources.read(conn, mine, "Encounter", "e1")) == gone
    assert store.read(lambda conn: resources.read(conn, others, "Encounter", "e1")) is None
    assert store.read(lambda conn: resources.search(conn, mine, count=5)).rows == ()
    assert store.read(lambda conn: resources.total(conn, mine)) == 0


def test_a_second_deletion_changes_nothing(store):
    put(store, new())
    for _ in range(2):
        last = store.write(lambda conn: resources.remove(conn, TENANT, "Encounter", "e1", author="ehr"))

    assert last is None
    assert store.write(lambda conn: resources.remove(conn, TENANT, "Encounter", "never", author="ehr")) is None
    assert store.read(lambda conn: resources.snapshot(conn, TENANT)).seq == 2


@pytest.mark.parametrize("there", [True, False])
def test_a_deletion_that_expects_another_version_is_refused(store, there):
    if there:
        put(store, new())

    with pytest.raises(VersionConflict):
        store.write(lambda conn: resources.remove(conn, TENANT, "Encounter", "e1", author=None, expect=5))


def test_a_deletion_that_expects_the_current_version_is_done(store):
    put(store, new())

    assert store.write(lambda conn: resources.remove(conn, TENANT, "Encounter", "e1", author=None, expect=1))


def test_a_deleted_resource_can_be_written_again(store):
    put(store, new())
    store.write(lambda conn: resources.remove(conn, TENANT, "Encounter", "e1", author="ehr"))

    (row,) = put(store, new(), expect=0)

    assert (row.vid, row.deleted) == (3, False)
    assert ids(store.read(lambda conn: resources.search(conn, MINE, count=5))) == ["e1"]


def test_a_past_version_is_seen_by_whoever_sees_the_resource_now(store):
    put(store, new(keys=[(1, "before")]))
    put(store, new(keys=[(1, "now")]))

    def first(value: str) -> resources.Row | None:
        return store.read(lambda conn: vread(conn, MINE.narrowed(Keys(1, (value,))), "Encounter", "e1", vid=1))

    assert first("now").vid == 1
    assert first("before") is None


def test_a_version_that_never_was_is_not_found(store):
    put(store, new())

    assert store.read(lambda conn: vread(conn, MINE, "Encounter", "e1", vid=2)) is None
    assert store.read(lambda conn: vread(conn, MINE, "Patient", "e1", vid=1)) is None


def test_pages_of_a_snapshot_hold_each_resource_once_whatever_is_written_meanwhile(store):
    put(store, *(new(f"e{n}", keys=[(1, "x")]) for n in range(10)))
    at = store.read(lambda conn: resources.snapshot(conn, TENANT)).seq
    seen, after, page = [], None, None
    for turn in range(9):
        page = store.read(
            lambda conn, after=after: resources.search(
                conn, MINE.narrowed(Keys(1, ("x",))), snapshot=at, after=after, count=3
            )
        )
        seen += ids(page)
        after = page.following
        if after is None:
            break
        put(store, new(f"new{turn}", keys=[(1, "x")]), new(f"e{turn}", method="PUT"))
        store.write(lambda conn, turn=turn: resources.remove(conn, TENANT, "Encounter", f"e{turn + 5}", author="x"))

    assert seen == [f"e{n}" for n in reversed(range(10))]
    assert store.read(lambda conn: resources.total(conn, MINE.narrowed(Keys(1, ("x",))), snapshot=at)) == 10


def test_a_full_last_page_has_no_page_after_it(store):
    put(store, new("a"), new("b"))

    assert store.read(lambda conn: resources.search(conn, MINE, count=2)).following is None
    assert store.read(lambda conn: resources.search(conn, MINE, count=1)).following is not None
    assert store.read(lambda conn: resources.search(conn, MINE, count=0)) == resources.Page((), None)


def test_history_tells_deletions_newest_first_and_in_pages(store):
    put(store, new("a"))
    put(store, new("a", method="PUT"))
    put(store, new("b", type_="Patient"))
    store.write(lambda conn: resources.remove(conn, TENANT, "Encounter", "a", author="x"))

    def told(**which):
        count = which.pop("count", 9)
        asked = Told(9, **which)
        page = store.read(lambda conn: history(conn, MINE, asked, count=count))
        assert count < 9 or store.read(lambda conn: history_total(conn, MINE, asked)) == len(page.rows)
        return [(row.id, row.vid, row.deleted) for row in page.rows], page.following

    everything = [("a", 3, True), ("b", 1, False), ("a", 2, False), ("a", 1, False)]
    assert told()[0] == everything
    assert told(types=("Patient",))[0] == [("b", 1, False)]
    assert told(types=("Encounter",), id="a", since=1)[0] == [("a", 3, True), ("a", 2, False)]
    begun, following = told(count=3)
    assert store.read(lambda conn: history(conn, MINE, Told(9), after=following, count=9)).rows[0].vid == 1
    assert begun == everything[:3]


def test_what_was_current_within_a_span_of_commits_is_told_without_deletions(store):
    put(store, new("a"))
    put(store, new("a", method="PUT"))
    store.write(lambda conn: resources.remove(conn, TENANT, "Encounter", "a", author="x"))
    put(store, new("a", method="PUT"))

    def current(after: int, upto: int) -> list[int]:
        page = store.read(lambda conn: history(conn, MINE, Told(upto, current_after=after), count=9))
        return [row.vid for row in page.rows]

    assert [current(n, n) for n in range(1, 5)] == [[1], [2], [], [4]]
    assert current(1, 4) == [4, 2, 1]
    assert current(2, 3) == [2]


def test_what_followed_a_deletion_is_known(store):
    rows = [put(store, new("a"))[0], put(store, new("a", method="PUT"))[0]]
    store.write(lambda conn: resources.remove(conn, TENANT, "Encounter", "a", author="x"))
    rows += put(store, new("a", method="PUT"))

    assert store.read(lambda conn: revived(conn, TENANT, rows)) == {4}
    assert store.read(lambda conn: revived(conn, TENANT, ())) == frozenset()


def test_times_become_commit_numbers(store):
    rows = [put(store, new(f"e{n}"))[0] for n in range(5)]

    def seq(at_ms: int) -> int:
        return store.read(lambda conn: resources.seq_at(conn, TENANT, at_ms))

    assert seq(rows[0].at_ms - 1) == 0
    assert [seq(row.at_ms) for row in rows] == [1, 2, 3, 4, 5]
    assert seq(rows[2].at_ms - 1) == 2
    found = store.read(lambda conn: resources.search(conn, MINE.narrowed(Seq(after=1, upto=3)), count=9))
    assert ids(found) == ["e2", "e1"]


def test_a_tenant_sees_nothing_of_another(store):
    store.write(lambda conn: oauth.add_tenant(conn, oauth.Tenant("other", "-")))
    put(store, new(keys=[(1, "x"), (2, "Patient/p")]), new("p", type_="Patient", keys=[(3, "y")]))
    put(store, new(keys=[(2, "Patient/p")]), tenant="other")
    other = Filter("other")

    (own,) = store.read(lambda conn: resources.search(conn, other, count=9)).rows
    assert (own.seq, own.vid) == (1, 1)
    for node in (Keys(1, ("x",)), Chain(2, ("Patient",), Keys(3, ("y",))), OfType(("Patient",))):
        assert store.read(lambda conn, node=node: resources.search(conn, other.narrowed(node), count=9)).rows == ()
    assert store.read(lambda conn: resources.read(conn, other, "Patient", "p")) is None
    assert store.read(lambda conn: vread(conn, other, "Patient", "p", vid=1)) is None
    assert len(store.read(lambda conn: history(conn, other, Told(9), count=9)).rows) == 1


def test_a_value_that_may_exist_once_belongs_to_the_first(store):
    first, second = resources.Once("digest", "Encounter", "a"), resources.Once("other", "Encounter", "b")

    def claim(mine: resources.Once, kind: str = "identifier") -> resources.Once | None:
        return store.write(lambda conn: resources.once(conn, TENANT, kind, "s|v", mine=mine))

    assert claim(first) is None
    assert claim(second) == first
    assert claim(second, kind="another") is None


def test_claims_end_with_the_resource_that_let_them_go(store):
    first, second = resources.Once("digest", "Encounter", "a"), resources.Once("digest", "Encounter", "b")

    def claim(mine: resources.Once, val: str) -> resources.Once | None:
        return store.write(lambda conn: resources.once(conn, TENANT, "identifier", val, mine=mine))

    claim(first, "1"), claim(second, "2")
    store.write(lambda conn: resources.release(conn, TENANT, ("Encounter", "a")))

    assert claim(second, "1") is None
    assert claim(first, "2") == second


def test_an_include_leads_to_what_the_rows_of_a_page_refer_to(store):
    rows = put(
        store,
        new("a", keys=[(2, "Patient/1"), (2, "Patient/2"), (1, "x")]),
        new("b", keys=[(2, "Patient/2")]),
        new("c", keys=[(2, "Patient/3")]),
    )

    def named(*seqs: int) -> tuple[str, ...]:
        return store.read(lambda conn: resources.named_by(conn, TENANT, seqs, 2))

    assert named(rows[0].seq, rows[1].seq) == ("Patient/1", "Patient/2")
    assert named() == ()


def test_a_snapshot_tells_the_time_of_its_last_commit(store):
    (row,) = put(store, new())

    assert store.read(lambda conn: resources.snapshot(conn, TENANT)).at == row.at


@pytest.mark.parametrize("many", [7, 2500])
def test_few_or_many_that_match_are_found_newest_first(store, many):
    put(store, *(new(f"e{n}", keys=[(1, "x"), (2, "y" if n % 2 else "z")]) for n in range(many)))
    both = MINE.narrowed(OfType(("Encounter",)), Keys(1, ("x",)), Keys(2, ("y",)))

    page = store.read(lambda conn: resources.search(conn, both, count=2))
    rest = store.read(lambda conn: resources.search(conn, both, after=page.following, count=many))

    assert [row.seq for row in (*page.rows, *rest.rows)] == list(range(many, 0, -1))[(many % 2) :: 2]
    assert store.read(lambda conn: resources.total(conn, both)) == many // 2
