"""verify, purge and rotate-keys, on a database with accepted audio."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from fhir_bridge import clock
from fhir_bridge.blobs import open_blobs
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.keyring import KeyRing
from fhir_bridge.smart import keys
from fhir_bridge.store import Store, binaries, oauth, resources, results, tables
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.store.binaries import StoredBlob
from fhir_bridge.store.filter import Filter
from fhir_bridge.store.jobs import NewJob, create
from fhir_bridge.store.results import InteractionRow
from fhir_bridge.store.states import STATES, State
from fhir_bridge.verbs.erase import ERASE, Eraser
from fhir_bridge.verbs.record import new_version
from fhir_bridge.worker.accounts import Accounts
from fhir_bridge.worker.erase import carry_on

DAY_MS = 86_400_000
ENVIRONMENT = {"secret_key": "a key for tests only"}


@pytest.fixture
def embedded(sqlite_settings):
    store = Store.open(sqlite_settings).of_all()
    yield sqlite_settings, store, open_blobs(sqlite_settings)
    store.close()


@pytest.fixture
def ran(run, sqlite_settings):
    def ran(*arguments: str, **settings: str):
        return run(*arguments, data_dir=str(sqlite_settings.data_dir), **ENVIRONMENT | settings)

    return ran


class Yesterday(clock.Clock):
    def now(self) -> datetime:
        return super().now() - timedelta(hours=25)


def accepted(embedded, name: str, *, state: State = State.PUBLISHED, binary: str | None = None) -> str:
    """Store a recording whose job stands at `state`; return the id of its blob."""
    settings, store, blobs = embedded
    tenant = store.read(lambda conn: oauth.tenant(conn, "default"))
    binary = binary or f"{name}-audio"
    known = store.read(lambda conn: binaries.of(conn, "default", binary))
    with blobs.create(tenant.open_audio_key(KeyRing.open(settings))) as writer:
        writer.write(b"sound")
        blob = writer.commit()
    phase = STATES[state]
    shown = {"coding": [{"code": state.value}]}
    versions = [
        _version("Encounter", name, status="finished", **{"class": {"code": "AMB"}}),
        _version("Media", name, status=phase.media, content={"url": f"Binary/{binary}"}),
        _version("Task", f"{name}-task", status=phase.task, businessStatus=shown, intent="order"),
    ]

    def write(conn):
        resources.put(conn, "default", tuple(versions))
        if known is None:
            resources.put(conn, "default", (_version("Binary", binary, contentType="audio/wav"),))
            row = StoredBlob(binary, blob.id, blob.size, blob.sha256, blob.sha1, blob.wrapped_key, 0)
            binaries.add(conn, "default", row)
        job = create(conn, NewJob("media", "default", name, f"{name}-task", name, binary))
        if state is not State.QUEUED:
            ended = {"state": state, "ended_ms": resources.now_ms()}
            conn.execute(update(tables.job).where(tables.job.c.id == job.id).values(ended))

    store.write(write)
    return blob.id


def there(embedded, binary: str) -> bool:
    return embedded[1].read(lambda conn: binaries.of(conn, "default", binary)) is not None


def files(embedded) -> int:
    return sum(path.is_file() for path in (embedded[0].data_dir / "audio").rglob("*"))


def _version(type_: str, id_: str, **elements):
    return new_version({"resourceType": type_, "id": id_, **elements}, method="POST", author="test")


# --- verify --------------------------------------------------------------------------------


def test_a_store_in_order_is_said_to_be(ran, embedded):
    accepted(embedded, "one", state=State.QUEUED)
    answer = ran("verify")

    assert (answer.status, answer.out) == (0, "Everything holds: nothing is lost, doubled or stuck.\n")
    assert ran("verify", "--json").json == []


def test_lost_audio_is_found_and_named_by_its_ids(ran, embedded):
    blob = accepted(embedded, "one", state=State.QUEUED)
    embedded[2].delete(blob)
    answer = ran("verify", "--json")

    assert answer.status == 1
    expected = {"law": "accepted audio is there and complete", "tenant": "default", "row": "Binary/one-audio"}
    assert answer.json == [expected]


def test_a_job_that_nobody_will_run_is_found(ran, embedded):
    accepted(embedded, "one", state=State.QUEUED)
    embedded[1].write(lambda conn: conn.execute(update(tables.job).values(epoch=7)))
    answer = ran("verify")

    assert answer.status == 1
    assert "a job under way has a worker or a queued run" in answer.out


def test_a_broken_store_is_found(ran, embedded):
    accepted(embedded, "one")
    embedded[1].write(lambda conn: conn.execute(update(tables.tenant).values(seq=99)))
    answer = ran("verify")

    assert answer.status == 1
    assert "commit numbers have no gaps" in answer.out


# --- reindex --------------------------------------------------------------------------------


def test_reindex_tells_of_how_many_resources_it_added_keys_and_does_so_once(embedded, ran):
    _, store, _ = embedded
    made = new_version({"resourceType": "Patient", "id": "p", "deceasedBoolean": True})
    store.write(lambda conn: resources.put(conn, "default", [replace(made, keys=())]))

    assert ran("reindex").out == "Indexed 1 resources anew.\n"
    assert ran("reindex", "--json").json == {"resources": 0}


# --- purge ---------------------------------------------------------------------------------


def test_audio_goes_once_its_results_have_been_complete_for_a_day(ran, embedded):
    with clock.use(Yesterday()):
        accepted(embedded, "old")
    accepted(embedded, "new")

    assert ran("purge").out == ("Removed 1 recordings, 0 resources, 0 audit rows, 0 stray files, 0 used assertions.\n")
    assert not there(embedded, "old-audio")
    assert there(embedded, "new-audio")
    assert files(embedded) == 1
    assert ran("verify").status == 0


@pytest.mark.parametrize("state", [State.QUEUED, State.FAILED, State.CANCELLED])
def test_audio_that_gave_no_results_yet_stays(ran, embedded, state):
    accepted(embedded, "one", state=state)

    assert ran("purge", "--json", audio_retention_hours="0").json["audio"] == 0
    assert there(embedded, "one-audio")


def test_audio_that_another_recording_still_needs_stays(ran, embedded):
    accepted(embedded, "one", binary="shared")
    accepted(embedded, "two", binary="shared", state=State.FAILED)

    assert ran("purge", "--json", audio_retention_hours="0").json["audio"] == 0


def test_how_long_audio_is_kept_is_a_setting(ran, embedded):
    accepted(embedded, "one")

    purged = [ran("purge", "--json", audio_retention_hours="0").json for _ in range(2)]

    nothing = dict.fromkeys(("audio", "resources", "audit", "strays", "assertions"), 0)
    assert purged == [nothing | {"audio": 1}, nothing]


def test_a_tenant_may_keep_its_audio_for_another_time(ran, embedded):
    accepted(embedded, "one")
    hours = tables.tenant.c.audio_retention_hours
    for own, audio in ((1.0, 0), (0.0, 1)):
        embedded[1].write(lambda conn, own=own: conn.execute(update(tables.tenant).values({hours: own})))
        assert ran("purge", "--json", audio_retention_hours="0" if own else "9").json["audio"] == audio


def test_what_crashes_left_behind_is_collected_after_a_day(ran, embedded):
    accepted(embedded, "one")
    for age in (DAY_MS // 1000 + 60, 0):
        with embedded[2].create(b"k" * 32) as writer:
            writer.write(b"never referred to")
            writer.commit()
        found = [path for path in (embedded[0].data_dir / "audio").rglob("*") if path.is_file()]
        newest = max(found, key=lambda path: path.stat().st_ctime_ns)
        os.utime(newest, (time.time() - age,) * 2)

    assert ran("purge", "--json").json.items() >= {"audio": 0, "strays": 1, "assertions": 0}.items()
    assert files(embedded) == 2


def test_used_assertions_are_forgotten_once_they_are_too_old_to_be_used_again(ran, embedded):
    now = int(time.time())
    for jti, exp in (("old", now - 60), ("new", now + 60)):
        embedded[1].write(lambda conn, jti=jti, exp=exp: oauth.first_use(conn, iss="ehr", jti=jti, exp=exp))

    assert ran("purge", "--json").json["assertions"] == 1


def test_the_media_itself_stays(ran, embedded):
    accepted(embedded, "one")
    ran("purge", audio_retention_hours="0")

    row = embedded[1].read(lambda conn: resources.read(conn, Filter("default"), "Media", "one"))
    assert read(row.body)["status"] == "completed"


# --- erase ---------------------------------------------------------------------------------


def intended(embedded, encounter: str) -> None:
    row = InteractionRow("default", encounter, "V-1~00000000", 1, sent=True, corti_id="6f1d9a3e")
    embedded[1].write(lambda conn: results.put_interaction(conn, row))


def test_a_visit_is_erased_and_the_proof_is_printed_each_time(ran, embedded, caplog):
    caplog.set_level("INFO", logger="fhir_bridge")
    accepted(embedded, "one", state=State.QUEUED)
    accepted(embedded, "two", state=State.QUEUED)

    first, again = ran("erase", "Encounter/one", "--json"), ran("erase", "Encounter/one", "--no-compact")

    assert (first.status, again.status) == (0, 0)
    assert first.json["state"] == "erased"
    assert first.json["reference"] == "Encounter/one"
    assert first.json["compacted"]
    assert first.json["counts"]["keys_of_audio"] == 1
    assert again.json["seal"] == first.json["seal"]
    assert not there(embedded, "one-audio")
    assert there(embedded, "two-audio")
    assert files(embedded) == 1
    assert ran("verify").status == 0
    events = [record.getMessage() for record in caplog.records if record.name == "fhir_bridge"]
    assert any("erasure.started" in event for event in events)
    assert any("erasure.done" in event for event in events)


def test_while_corti_cannot_be_told_the_erasure_fails_and_goes_on_when_it_is_called_again(ran, embedded):
    accepted(embedded, "one")
    intended(embedded, "one")

    answer = ran("erase", "Encounter/one", "--json")

    assert answer.status == 1
    assert "all is destroyed here; Corti has not forgotten yet" in answer.err
    assert answer.json["state"] == "destroyed"
    assert not there(embedded, "one-audio")
    assert ran("erase", "Encounter/one").status == 1


def test_a_worker_that_cannot_tell_corti_says_that_the_erasure_waits(embedded, caplog):
    settings, store, blobs = embedded
    caplog.set_level("INFO", logger="fhir_bridge")
    accepted(embedded, "one")
    intended(embedded, "one")
    keys = KeyRing.open(settings)
    eraser = Eraser(settings, store, blobs, keys)
    eraser.begin("default", "Encounter/one", by=AuditRow("default", "r", ERASE, 200))

    carry_on(eraser, Accounts(settings, store, keys))

    assert "erasure.waits" in caplog.messages[-1]


@pytest.mark.parametrize("reference", ["Encounter/none", "Patient/none", "Media/one", "one", "Encounter/one/x"])
def test_what_is_not_there_or_not_erased_by_itself_is_refused(ran, embedded, reference):
    accepted(embedded, "one")

    assert ran("erase", reference, "--no-compact").status == 1
    assert there(embedded, "one-audio")


# --- rotate-keys ---------------------------------------------------------------------------


def test_a_new_signing_key_is_used_and_the_former_one_still_verifies(ran, embedded):
    ran("rotate-keys")
    ran("rotate-keys")

    found = embedded[1].read(oauth.signing_keys)
    assert sorted(key.retired_ms is None for key in found) == [False, True]


def test_stored_keys_are_wrapped_under_the_present_key_given_the_former_one(ran, embedded, tmp_path):
    settings, store, _ = embedded
    corti = {"client_id": "id", "client_secret": "hush"}
    tenant = oauth.new_tenant("north", KeyRing.open(settings), corti=corti)
    store.write(lambda conn: oauth.add_tenant(conn, tenant))
    ran("rotate-keys")
    (tmp_path / "former").write_text("a key for tests only\n")

    answer = ran("rotate-keys", "--old-key-file", "former", secret_key="the next key")

    ring = KeyRing(b"the next key")
    moved = store.read(lambda conn: oauth.tenant(conn, "north"))
    assert answer.status == 0
    assert "4 stored keys and secrets" in answer.out  # two audio keys, one Corti secret, one signing key
    assert moved.open_audio_key(ring) == tenant.open_audio_key(KeyRing.open(settings))
    assert moved.open_corti_secret(ring) == "hush"
    for row in store.read(oauth.signing_keys):
        assert keys.load(row.kid, "ES384", row.open_private(ring)).kid == row.kid


def test_with_a_wrong_former_key_nothing_changes(ran, embedded, tmp_path):
    before = embedded[1].read(oauth.tenants)
    (tmp_path / "former").write_text("not it")

    answer = ran("rotate-keys", "--old-key-file", "former", secret_key="the next key")

    assert answer.status == 2
    assert embedded[1].read(oauth.tenants) == before
    assert embedded[1].read(oauth.signing_keys) == ()


def test_a_key_file_that_is_missing_is_named(ran):
    answer = ran("rotate-keys", "--old-key-file", "none")

    assert (answer.status, answer.err) == (1, "fhir-bridge: none: No such file or directory\n")
