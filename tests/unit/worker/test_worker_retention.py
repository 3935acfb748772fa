"""What a tenant keeps, by type: what nobody has changed for as long goes, with every version and every word."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import func, select, update
from test_worker_upkeep import DAY, Later, later

from fhir_bridge import clock
from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import Filter, oauth, resources, retention, tables, verify
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.verbs.audit import record
from fhir_bridge.verbs.erase import NUMBERS
from fhir_bridge.verbs.record import new_version
from fhir_bridge.verbs.retention import Keeper
from fhir_bridge.verbs.verify import Proof
from fhir_bridge.worker.sealing import seal

__all__ = ["later"]  # a fixture

YEAR = 365 * DAY


@pytest.fixture
def bridge_settings(settings):
    """On both databases."""
    return settings


@pytest.fixture
def keeper(ward):
    """What the worker and `purge` do, with the times that a test gives."""

    def make(stopping=lambda: False, **days):
        settings = ward.rooms.settings.model_copy(update={"retention_days": days})
        return Keeper(settings, ward.rooms.store, ward.rooms.blobs, KeyRing.open(settings), stopping)

    return make


def rows(ward, table) -> int:
    return ward.store.read(lambda conn: conn.execute(select(func.count()).select_from(table)).scalar_one())


def gone(ward, type_: str, id_: str) -> bool:
    row = ward.store.read(lambda conn: resources.read(conn, Filter("default"), type_, id_))
    return row.deleted and row.body == ""


def said(ward, type_: str) -> list[str]:
    v = tables.version.c
    return ward.store.read(
        lambda conn: conn.execute(select(v.body).where(v.type == type_, v.body != "")).scalars().all()
    )


def aged(ward, days: float) -> None:
    """Let all that was written so far be so much older: the clock of PostgreSQL is the server's."""
    by = int(days * DAY * 1000)
    past = [update(table).values(at_ms=table.c.at_ms - by) for table in (tables.version, tables.tenant)]
    ward.store.write(lambda conn: [conn.execute(each) for each in past])


def proved(ward) -> bool:
    return ward.store.read(verify.findings) == ()


def test_transcripts_go_after_their_time_with_all_words_and_facts_stay(ward, later, keeper):
    media = ward.record(ward.admit(), 80)
    ward.work()
    [document] = ward.all("DocumentReference")
    keeping = keeper(DocumentReference=365)
    later.ahead = YEAR - 600
    assert keeping.apply().resources == 0
    assert rows(ward, tables.segment)

    later.ahead = YEAR + 600

    assert (keeping.apply().resources, keeping.apply().resources) == (1, 0)
    assert gone(ward, "DocumentReference", document["id"])
    assert said(ward, "DocumentReference") == []
    assert rows(ward, tables.segment) == 0
    assert len(ward.facts()) == 2
    assert ward.resource("Media", media)["status"] == "completed"
    assert proved(ward)


def test_each_type_has_its_time_and_a_tenant_its_own(ward, later, keeper):
    ward.record(ward.admit(), 80)
    ward.work()
    ward.store.write(lambda conn: retention.keep(conn, "default", '{"Observation": null, "Provenance": 30}'))
    later.ahead = 60 * DAY

    removed = keeper(Observation=10, DocumentReference=90, Media=45).apply()

    assert removed.resources == 1 + 3  # the Media, and a Provenance for each of three results
    assert said(ward, "Provenance") == said(ward, "Media") == said(ward, "Binary") == []
    assert len(said(ward, "DocumentReference")) >= 1
    assert len(ward.facts()) == 2
    assert proved(ward)


def test_what_was_changed_in_the_meantime_stays_and_what_was_deleted_loses_its_past(ward, keeper):
    ward.record(ward.admit(), 120)
    ward.work()
    kept, deleted, old = ward.all("Observation")
    ward.delete(deleted)
    aged(ward, 20)
    ward.edit(kept | {"status": "final"})
    aged(ward, 15)

    assert keeper(Observation=30).apply().resources == 2

    assert not gone(ward, "Observation", kept["id"])
    assert gone(ward, "Observation", deleted["id"])
    assert gone(ward, "Observation", old["id"])
    assert len(ward.versions("Observation", kept["id"])) > 1
    assert ward.versions("Observation", kept["id"])[0]["id"] == kept["id"]
    assert rows(ward, tables.fact) == 1
    assert proved(ward)


def test_what_a_job_is_at_work_on_stays_until_it_has_ended(ward, later, keeper):
    media = ward.record(ward.admit(), 80)
    ward.work()
    ward.again(media)
    later.ahead = 100 * DAY
    keeping = keeper(Media=1, DocumentReference=1, Observation=1)
    before = [resource["id"] for type_ in ("Observation", "DocumentReference", "Media") for resource in ward.all(type_)]

    assert keeping.apply().resources == 0
    ward.work()
    later.ahead = 200 * DAY

    assert keeping.apply().resources == len(before)
    assert proved(ward)


def test_many_go_in_steps_between_which_others_write_and_two_may_do_it_at_once(ward, keeper):
    ids = [f"c{n}" for n in range(250)]
    for id_ in ids:
        ward.accept_resource({"resourceType": "Composition", "id": id_, "title": "words"})
    aged(ward, 2)
    new, failed, counts = [], [], []

    def keep():
        try:
            counts.append(keeper(Composition=1).apply().resources)
        except Exception as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    def write():
        for n in range(20):
            id_ = f"c{n * 12}" if n % 2 else f"n{n}"
            version = new_version({"resourceType": "Composition", "id": id_, "title": "new"}, method="PUT")
            ward.store.write(lambda conn, version=version: resources.put(conn, "default", (version,)))
            new.append(id_)

    threads = [threading.Thread(target=each) for each in (keep, write, keep)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)

    assert failed == []
    assert 230 <= sum(counts) <= 250
    assert {id_ for id_ in (*ids, *new) if not gone(ward, "Composition", id_)} == set(new)
    assert proved(ward)


def test_who_stops_begins_no_further_step(ward, later, keeper):
    ward.accept_resource({"resourceType": "Composition", "id": "c", "title": "words"})
    later.ahead = 2 * DAY

    assert keeper(lambda: True, Composition=1, AuditEvent=1).apply().resources == 0
    assert not gone(ward, "Composition", "c")


def test_of_whoever_is_killed_before_the_file_goes_a_stray_is_left_that_no_key_opens(ward, keeper):
    binary = ward.resource("Media", ward.record(ward.admit(), 40))["content"]["url"].rpartition("/")[2]
    ward.work()
    old = retention.Old("default", "Media", resources.now_ms() + 1_000)

    dead = ward.store.write(lambda conn: retention.destroy(conn, old, NUMBERS, count=5))

    assert (dead.count, len(dead.blobs)) == (1, 1)
    assert gone(ward, "Binary", binary)
    assert rows(ward, tables.blob) == 0
    with clock.use(Later()) as clock_:
        clock_.ahead = 2 * DAY
        assert keeper().apply().strays == 1
    assert proved(ward)


def test_the_audit_loses_its_oldest_rows_and_is_proved_all_the_same(ward, keeper):
    store, keys = ward.store, KeyRing.open(ward.rooms.settings)
    store.write(lambda conn: oauth.add_tenant(conn, oauth.new_tenant("elsewhere", keys)))
    store.write(lambda conn: retention.keep(conn, "elsewhere", '{"AuditEvent": null}'))
    tell(ward, "default", 1_500)
    tell(ward, "elsewhere", 3)
    past = update(tables.audit).values(at_ms=tables.audit.c.at_ms - int(10 * DAY * 1000))
    store.write(lambda conn: conn.execute(past))
    tell(ward, "default", 4)
    seal(store, keys)

    assert [keeper(AuditEvent=days).apply().audit for days in (11, 5, 5)] == [0, 1_500, 0]

    assert rows(ward, tables.audit) == 4 + 3
    assert Proof(store, ward.rooms.blobs, keys).audit() == ()


def tell(ward, tenant: str, count: int) -> None:
    told = [AuditRow(tenant, f"r{n}", "read", 200) for n in range(count)]
    ward.store.write(lambda conn: record(conn, told))
