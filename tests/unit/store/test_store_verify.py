"""Every invariant `verify` knows is found out when a row breaks it."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from store_making import TENANT, new, put

from fhir_bridge.store import binaries, resources, tables, verify
from fhir_bridge.store.dispatch import Ticket
from fhir_bridge.store.states import State

SAID = '"businessStatus":{"coding":[{"code":"stored"}]}'  # its job has been queued since
TASK = {"type_": "Task", "before": '{"meta":{', "after": f'}},"status":"accepted",{SAID}}}'}
MEDIA = {"type_": "Media", "before": '{"meta":{', "after": '},"status":"in-progress"}'}


def job(id_: str = "t1", **changes):
    row = {"id": id_, "tenant": TENANT, "kind": "media", "encounter": "e1", "media": "m1", "task": id_}
    return row | {"state": State.QUEUED, "epoch": 1, "queued_ms": 1, "created_ms": 1} | changes


@pytest.fixture
def whole(store):
    """A store in which everything is as it must be, with some of everything."""
    put(store, new(keys=[(1, "x")]), new("t1", **TASK), new("m1", **MEDIA), new("b1", type_="Binary"))
    put(store, new(keys=[(1, "y")]))
    put(store, new("gone"))
    store.write(lambda conn: resources.remove(conn, TENANT, "Encounter", "gone", author="ehr"))
    mine = resources.Once("d", "Encounter", "e1")
    store.write(lambda conn: resources.once(conn, TENANT, "identifier", "s|v", mine=mine))
    store.write(lambda conn: binaries.add(conn, TENANT, binaries.StoredBlob("b1", "blob", 1, "s", "s", "w", 1)))
    store.write(lambda conn: conn.execute(tables.job.insert().values(job())))
    return store


def laws(store) -> set[str]:
    return {finding.law for finding in store.read(verify.findings)}


def test_a_store_that_is_as_it_must_be_has_no_findings(whole):
    assert whole.read(verify.findings) == ()


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        ("DELETE FROM version WHERE seq = 6", "commit numbers have no gaps"),
        ("UPDATE tenant SET seq = seq + 1", "commit numbers have no gaps"),
        ("UPDATE version SET at_ms = at_ms - 99999 WHERE seq = 5", "lastUpdated grows in commit order"),
        ("UPDATE tenant SET at_ms = 1", "no version is newer than its tenant's last commit"),
        ("UPDATE version SET until = 7 WHERE seq = 5", "a resource has one current version and all before it"),
        ("UPDATE version SET vid = 4 WHERE seq = 5", "a resource has one current version and all before it"),
        ("UPDATE version SET until = 6 WHERE seq = 1", "a past version was replaced by the next one"),
        ("UPDATE version SET until = 99 WHERE seq = 1", "a past version was replaced by the next one"),
        ("UPDATE version SET body = 'x' WHERE deleted", "a body tells its own version, a deletion has none"),
        ("UPDATE version SET body = '' WHERE seq = 1", "a body tells its own version, a deletion has none"),
        ("UPDATE key SET seq = 99", "a search key belongs to a version"),
        ("UPDATE once SET id = 'never'", "what exists once exists"),
        ("UPDATE blob SET binary = 'never'", "content has its Binary"),
        ("UPDATE job SET task = 'never'", "a job has its Task"),
        ("UPDATE job SET encounter = 'never'", "a job has its Encounter"),
        ("UPDATE job SET media = 'never'", "a job of a recording has its Media"),
        ("UPDATE job SET state = 'streaming'", "Task.status shows the state of its job"),
        ("UPDATE job SET state = 'received'", "Task.businessStatus shows the state of its job"),
        ("UPDATE version SET body = replace(body, 'coding', 'code')", "Task.businessStatus shows the state of its job"),
        ("UPDATE job SET state = 'failed'", "Media.status shows the state of its job"),
    ],
)
def test_what_must_not_be_is_found(whole, broken, law):
    if "binary" in broken and whole.url.get_backend_name() == "postgresql":
        broken = broken.replace("binary", '"binary"')
    if "SET seq = 99" in broken:
        broken += " WHERE val = 'y'"
    whole.write(lambda conn: conn.execute(text(broken)))

    assert law in laws(whole)


def test_two_running_jobs_of_one_encounter_are_found(whole):
    put(whole, new("t2", **TASK), new("m2", **MEDIA))
    running = [job(f"t{n}", media=f"m{n}", state=State.STREAMING, owner="w") for n in (1, 2)]
    whole.write(lambda conn: conn.execute(tables.job.delete()))
    whole.write(lambda conn: conn.execute(tables.job.insert(), running))

    assert verify.Finding("an Encounter has at most one running job", TENANT, "e1") in whole.read(verify.findings)


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ("in-progress", {"a Media in progress has a job"}),
        ("completed", {"a completed recording has a job"}),
        ("entered-in-error", set()),
    ],
)
def test_a_media_that_nobody_works_on_is_found(whole, status, found):
    put(whole, new("m2", **MEDIA | {"after": f'}},"status":"{status}","note":"in-progress"}}'}))

    assert laws(whole) == found


def test_a_media_taken_back_by_the_ehr_may_say_so(whole):
    put(whole, new("m1", **MEDIA | {"after": '},"status":"entered-in-error"}'}))

    assert laws(whole) == set()


@pytest.mark.parametrize(
    ("unfinished", "law"),
    [
        ({}, "a job under way has a worker or a queued run"),
        ({Ticket("t1", 1): "PENDING"}, "a job under way has a worker or a queued run"),
        ({Ticket("t1", 1): "ENQUEUED", Ticket("t1", 0): "PENDING"}, "no run of an older epoch holds a slot"),
    ],
)
def test_a_job_that_nobody_will_run_is_found(whole, unfinished, law):
    found = whole.read(lambda conn: verify.stuck(conn, unfinished))

    assert [finding.law for finding in found] == [law]


def test_a_job_that_waits_for_its_queued_run_is_as_it_must_be(whole):
    assert whole.read(lambda conn: verify.stuck(conn, {Ticket("t1", 1): "DELAYED", Ticket("t1", 0): "ENQUEUED"})) == ()


def test_a_job_with_a_worker_is_as_it_must_be(whole):
    whole.write(lambda conn: conn.execute(tables.job.update().values(owner="w")))

    assert whole.read(lambda conn: verify.stuck(conn, {Ticket("t1", 1): "PENDING"})) == ()
