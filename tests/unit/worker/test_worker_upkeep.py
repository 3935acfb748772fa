"""What a worker removes once an hour, and when."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from fhir_bridge import clock
from fhir_bridge.store import binaries, oauth, resources, tables, verify
from fhir_bridge.worker.upkeep import EVERY_SECONDS, FIRST_SECONDS, Upkeep

DAY = 86_400.0


class Later(clock.Clock):
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@pytest.fixture
def later():
    with clock.use(Later()) as made:
        yield made


@pytest.fixture
def done(caplog):
    """Each round that removed something."""
    caplog.set_level("INFO", logger="fhir_bridge")
    return lambda: [
        event
        for record in caplog.records
        if record.name == "fhir_bridge" and (event := json.loads(record.getMessage()))["event"] == "upkeep.done"
    ]


@pytest.fixture
def upkeep(later, ward):  # noqa: ARG001 - its time counts from the start
    return Upkeep(ward.rooms, stopping=lambda: False)


def note_assertion(ward, jti, *, exp):
    ward.store.write(lambda conn: oauth.first_use(conn, iss="ehr", jti=jti, exp=exp))


def test_the_first_round_comes_shortly_after_the_start_and_then_one_an_hour(ward, later, upkeep, done):
    for seconds, rounds in ((FIRST_SECONDS - 5, 0), (5, 1), (EVERY_SECONDS - 10, 1), (20, 2)):
        later.ahead += seconds
        note_assertion(ward, clock.new_id(), exp=int(clock.now().timestamp()) - 1)
        upkeep.when_due()
        assert len(done()) == rounds


def test_audio_goes_a_day_after_its_results_were_complete_and_the_results_stay(ward, later, upkeep, done):
    media = ward.record(ward.admit(), 40)
    binary = ward.resource("Media", media)["content"]["url"].rpartition("/")[2]
    ward.work()
    later.ahead += DAY - 60
    upkeep.when_due()
    assert ward.store.read(lambda conn: binaries.of(conn, "default", binary)) is not None

    later.ahead += EVERY_SECONDS
    upkeep.when_due()

    assert ward.store.read(lambda conn: binaries.of(conn, "default", binary)) is None
    assert ward.numbers() == list(range(40))
    assert done()[-1]["audio"] == 1
    assert ward.store.read(verify.findings) == ()


def test_audio_whose_results_are_not_complete_stays(ward, later, upkeep):
    ward.sandbox.switches.credit = False
    media = ward.record(ward.admit(), 40)
    binary = ward.resource("Media", media)["content"]["url"].rpartition("/")[2]
    ward.work()
    later.ahead += 10 * DAY

    upkeep.when_due()

    assert ward.store.read(lambda conn: binaries.of(conn, "default", binary)) is not None


def test_a_file_that_a_crash_left_behind_goes_after_a_day(ward, later, upkeep, done):
    with ward.rooms.blobs.create(os.urandom(32)) as writer:
        writer.write(b"audio whose row was never written")
        writer.commit()
    later.ahead += DAY + 60

    upkeep.when_due()

    assert [round_["strays"] for round_ in done()] == [1]


def test_search_keys_of_past_versions_go_when_no_page_link_is_good_any_more(ward, later, upkeep, done):
    encounter = ward.admit()
    ward.work()
    ward.edit(ward.resource("Encounter", encounter) | {"status": "finished"})
    keys = select(func.count()).select_from(tables.key)
    before = ward.store.read(lambda conn: conn.execute(keys).scalar())
    later.ahead += 30 * 60
    upkeep.when_due()
    assert done() == []

    later.ahead += EVERY_SECONDS
    upkeep.when_due()

    assert ward.store.read(lambda conn: conn.execute(keys).scalar()) < before
    snapshot = ward.store.read(lambda conn: resources.snapshot(conn, "default"))
    assert done()[0]["commits"] == snapshot.keys_from == snapshot.seq
    assert ward.store.read(verify.findings) == ()


def test_a_worker_that_stops_begins_no_further_step(ward, later, done):
    ward.admit()
    upkeep = Upkeep(ward.rooms, stopping=lambda: True)
    later.ahead += 2 * EVERY_SECONDS

    upkeep.when_due()

    assert done() == []
