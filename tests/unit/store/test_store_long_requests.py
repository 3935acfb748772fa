"""Uploads in parts and asynchronous requests, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import update

from fhir_bridge.errors import Fenced
from fhir_bridge.store import asynchronous, tables, uploads
from fhir_bridge.store.asynchronous import Request, Turn
from fhir_bridge.store.uploads import Part, Upload
from fhir_bridge.store.versions import now_ms

LEASE = 5.0


def request(id_: str = "r", **changes) -> Request:
    return replace(Request(id_, "default", "ehr", "search", now_ms(), asked="{}"), **changes)


def kept(store, *new: Request) -> None:
    for each in new:
        store.write(lambda conn, each=each: asynchronous.add(conn, each))


def taken(store, id_: str = "r", owner: str = "one") -> Request | None:
    return store.write(lambda conn: asynchronous.claim(conn, id_, owner=owner, lease_seconds=LEASE))


def waiting(store) -> str | None:
    return store.read(lambda conn: asynchronous.waiting(conn, lease_seconds=LEASE))


def lease(store, at_ms: int) -> None:
    store.write(lambda conn: conn.execute(update(tables.asynchronous).values(lease_ms=at_ms)))


def test_a_request_is_given_back_as_it_was_kept(store):
    new = request(waits='["job"]', files='[{"blob": "b"}]')
    kept(store, new)
    assert store.read(lambda conn: asynchronous.of(conn, "r")) == new
    assert store.read(lambda conn: asynchronous.of(conn, "other")) is None
    store.write(lambda conn: asynchronous.remove(conn, "r"))
    assert store.read(lambda conn: asynchronous.of(conn, "r")) is None


def test_the_oldest_request_comes_first_and_one_that_is_done_never(store):
    now = now_ms()
    kept(
        store, request("b", created_ms=now), request("a", created_ms=now - 5), request("d", state="done", created_ms=1)
    )
    assert waiting(store) == "a"
    taken(store, "a")
    assert waiting(store) == "b"
    taken(store, "b")
    assert waiting(store) is None


def test_of_several_workers_one_gets_a_request(store):
    kept(store, request())
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda n: taken(store, owner=f"worker-{n}"), range(4)))
    [won] = [one for one in got if one]
    assert (won.state, won.epoch) == ("running", 1)


@pytest.mark.parametrize("past", [True, False])
def test_a_request_whose_lease_ran_out_or_was_written_under_another_clock_is_taken_over(store, past):
    kept(store, request())
    first = taken(store)
    assert taken(store, owner="two") is None
    lease(store, now_ms() - 1 if past else now_ms() + int(LEASE * 10_000))

    second = taken(store, owner="two")

    assert second.epoch == 2
    old = Turn("r", first.epoch, "one")
    for late in (
        lambda conn: asynchronous.prolong(conn, old, progress="half", lease_seconds=LEASE),
        lambda conn: asynchronous.release(conn, old),
        lambda conn: asynchronous.finish(conn, old, answer="{}"),
    ):
        with pytest.raises(Fenced):
            store.write(late)
    store.write(lambda conn: asynchronous.finish(conn, Turn("r", 2, "two"), answer='{"status": 200}'))
    done = store.read(lambda conn: asynchronous.of(conn, "r"))
    assert (done.state, done.answer, done.owner) == ("done", '{"status": 200}', None)
    assert done.done_ms <= now_ms()


def test_progress_prolongs_a_lease_and_a_release_ends_it(store):
    kept(store, request())
    turn = Turn("r", taken(store).epoch, "one")
    lease(store, now_ms() - 1)
    store.write(lambda conn: asynchronous.prolong(conn, turn, progress="half", lease_seconds=LEASE))
    assert waiting(store) is None
    assert store.read(lambda conn: asynchronous.of(conn, "r")).progress == "half"

    store.write(lambda conn: asynchronous.release(conn, turn))

    assert waiting(store) == "r"


def test_a_request_is_polled_at_most_so_often(store):
    kept(store, request())

    def poll(after_ms: int) -> bool:
        return store.write(lambda conn: asynchronous.polled(conn, "r", after_ms=after_ms))

    assert [poll(60_000), poll(60_000), poll(0)] == [True, False, True]
    store.write(lambda conn: conn.execute(update(tables.asynchronous).values(polled_ms=now_ms() + 10**9)))
    assert poll(60_000)  # a clock that was set back keeps nobody out


def test_what_a_client_has_under_way_is_counted(store):
    others = (request("c", client="other"), request("k", kind="export"), request("d", state="done"))
    kept(store, request(), *others)
    assert store.read(lambda conn: asynchronous.under_way(conn, "default", "ehr", "search")) == 1


def test_when_all_had_ended_is_noted_once(store):
    kept(store, request(state="done"))
    first = store.write(lambda conn: asynchronous.ended(conn, "r"))
    assert store.write(lambda conn: asynchronous.ended(conn, "r")) == first
    assert store.write(lambda conn: asynchronous.ended(conn, "gone")) >= first


def test_what_has_outlived_its_use_is_named(store):
    kept(store, request("old", created_ms=5), request("done", state="done", done_ms=5), request())
    found = store.read(lambda conn: asynchronous.outlived(conn, done_before_ms=10, created_before_ms=10))
    assert {one.id for one in found} == {"old", "done"}


UPLOAD = Upload("default", "u", "ehr", 10, "audio/wav", None, 5)


def test_parts_join_without_gaps(store):
    store.write(lambda conn: uploads.begin(conn, UPLOAD))

    def add(start: int, size: int) -> bool:
        return store.write(lambda conn: uploads.add(conn, UPLOAD, Part(start, size, f"b{start}", "key")))

    assert [add(0, 4), add(0, 4), add(5, 1), add(4, 3)] == [True, False, False, True]
    assert store.read(lambda conn: uploads.received(conn, UPLOAD)) == 7
    assert [part.start for part in store.read(lambda conn: uploads.parts(conn, UPLOAD))] == [0, 4]
    assert store.read(uploads.blobs) == {"b0", "b4"}


def test_of_several_parts_at_one_place_one_counts(store):
    store.write(lambda conn: uploads.begin(conn, UPLOAD))

    def add(n: int) -> bool:
        return store.write(lambda conn: uploads.add(conn, UPLOAD, Part(0, 5, f"b{n}", "key")))

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(add, range(4))) == [False, False, False, True]


def test_an_upload_is_forgotten_with_its_parts(store):
    other = replace(UPLOAD, id="v", created_ms=now_ms())
    for each in (UPLOAD, other):
        store.write(lambda conn, each=each: uploads.begin(conn, each))
        store.write(lambda conn, each=each: uploads.add(conn, each, Part(0, 5, each.id, "key")))
    assert store.read(lambda conn: uploads.older_than(conn, 10)) == (UPLOAD,)

    store.write(lambda conn: uploads.forget(conn, UPLOAD))

    assert store.read(lambda conn: uploads.of(conn, "default", "u")) is None
    assert store.read(lambda conn: uploads.of(conn, "default", "v")) == other
    assert store.read(uploads.blobs) == {"v"}
