"""What every place for audio promises: a folder, and object stores of three kinds, one of them over S3's protocol."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import tracemalloc
from datetime import UTC, datetime

import obstore
import pytest
from s3_server import BUCKET, KEY, S3

from fhir_bridge import clock
from fhir_bridge.blobs import open_blobs
from fhir_bridge.blobs.sealing import CHUNK, TAG
from fhir_bridge.errors import BadSetting, BlobDamaged, StoreUnavailable
from fhir_bridge.settings import Settings

TENANT_KEY = bytes(range(32))
OTHER_KEY = bytes(reversed(range(32)))
PART = 8 * 2**20


@pytest.fixture(scope="module")
def server():
    with S3() as running:
        yield running


@pytest.fixture
def s3(server):
    server.objects.clear()
    server.statuses.clear()
    server.asked.clear()
    return server


def at_s3(s3, tmp_path, **changes):
    options = {"endpoint": s3.url, "access_key_id": KEY, "secret_access_key": "secret", "region": "local"} | changes
    return Settings(data_dir=tmp_path, audio_url=f"s3://{BUCKET}", audio_options=json.dumps(options))


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request, tmp_path):
    """A place for audio, and a look behind it."""
    if request.param == "folder":
        return Behind(open_blobs(Settings(data_dir=tmp_path)))
    if request.param == "memory":
        return Behind(open_blobs(Settings(data_dir=tmp_path, audio_url="memory:///")))
    return Behind(open_blobs(at_s3(request.getfixturevalue("s3"), tmp_path)))


class Behind:
    def __init__(self, blobs):
        self.blobs = blobs
        self.root = getattr(blobs, "_root", None)

    def keep(self, audio, *, piece=100_000):
        with self.blobs.create(TENANT_KEY) as writer:
            for start in range(0, len(audio), piece):
                writer.write(audio[start : start + piece])
            return writer.commit()

    def open(self, blob, key=TENANT_KEY, size=None):
        return self.blobs.reader(blob.id, blob.wrapped_key, key, blob.size if size is None else size)

    def heard(self, blob):
        with self.open(blob) as file:
            return file.read()

    def names(self):
        """The hashes of all that is stored."""
        if self.root is not None:
            return {path.name for path in self.root.glob("??/*")}
        return {each["path"][3:] for page in obstore.list(self.blobs._store) for each in page}

    def unfinished(self):
        return list((self.root / "incoming" if self.root else self.blobs._outgoing).iterdir())

    def stored(self, blob):
        name = named(blob.id)
        if self.root is not None:
            return (self.root / name[:2] / name).read_bytes()
        return bytes(obstore.get(self.blobs._store, f"{name[:2]}/{name}").bytes())

    def overwrite(self, blob, sealed):
        name = named(blob.id)
        if self.root is not None:
            (self.root / name[:2] / name).write_bytes(sealed)
        else:
            obstore.put(self.blobs._store, f"{name[:2]}/{name}", sealed)


def named(blob_id):
    return hashlib.sha256(blob_id.encode()).hexdigest()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 9 * CHUNK + 17])
def test_bytes_read_back_identical_from_any_place(place, size):
    audio = os.urandom(size)
    blob = place.keep(audio, piece=10_001)

    assert place.heard(blob) == audio
    with place.open(blob) as file:
        for start in (size, size // 2, 0, max(0, size - 3), 3 * CHUNK, 1):
            file.seek(start)
            assert file.read(1000) == audio[start : start + 1000]
    assert (blob.size, blob.sha256) == (size, hashlib.sha256(audio).hexdigest())


def test_a_recording_larger_than_a_part_reads_back_identical(place):
    audio = os.urandom(CHUNK) * (2 * PART // CHUNK + 1) + b"end"

    assert place.heard(place.keep(audio, piece=2**20)) == audio


def test_a_blob_is_nowhere_until_it_is_committed_and_leaves_nothing_beside_it(place):
    with place.blobs.create(TENANT_KEY) as writer:
        writer.write(b"spoken")
        assert place.names() == set()
        blob = writer.commit()

    assert place.names() == {named(blob.id)}
    assert place.unfinished() == []


def test_an_aborted_blob_leaves_nothing_behind(place):
    with place.blobs.create(TENANT_KEY) as writer:
        writer.write(bytes(3 * CHUNK))

    assert (place.names(), place.unfinished()) == (set(), [])


def test_nothing_spoken_and_no_id_is_readable_where_it_is_kept(place):
    blob = place.keep(b"patient words " * 10_000)

    assert b"patient words" not in place.stored(blob)
    assert blob.id not in place.names()


@pytest.mark.parametrize("where", [0, CHUNK + 5, -1])
def test_a_flipped_bit_is_noticed(place, where):
    blob = place.keep(bytes(3 * CHUNK))
    sealed = bytearray(place.stored(blob))
    sealed[where] ^= 1
    place.overwrite(blob, bytes(sealed))

    with pytest.raises(BlobDamaged, match="altered"):
        place.heard(blob)


def test_what_was_cut_off_exchanged_or_is_anothers_does_not_open(place):
    blob, other = place.keep(os.urandom(3 * CHUNK)), place.keep(os.urandom(3 * CHUNK))
    sealed, step = place.stored(blob), CHUNK + TAG

    for wrong in (sealed[:-1], sealed[:step], b""):
        place.overwrite(blob, wrong)
        with pytest.raises(BlobDamaged, match="length"):
            place.open(blob)
    for wrong in (sealed[step : 2 * step] + sealed[:step] + sealed[2 * step :], place.stored(other)):
        place.overwrite(blob, wrong)
        with pytest.raises(BlobDamaged):
            place.heard(blob)
    place.overwrite(blob, sealed[:step])
    with pytest.raises(BlobDamaged):
        place.open(blob, size=CHUNK)


def test_another_tenants_key_does_not_open_a_blob(place):
    blob = place.keep(b"spoken")

    with pytest.raises(BlobDamaged, match="key"):
        place.open(blob, OTHER_KEY)


@pytest.mark.parametrize("way", ["delete", "shred"])
def test_what_was_removed_is_missing_and_may_be_removed_again(place, way):
    blob = place.keep(b"spoken")
    getattr(place.blobs, way)(blob.id)
    getattr(place.blobs, way)(blob.id)

    assert place.names() == set()
    with pytest.raises(BlobDamaged, match="missing"):
        place.open(blob)


def test_only_old_ones_without_a_row_are_strays(place):
    known, unknown = place.keep(b"known"), place.keep(b"unknown")
    with place.blobs.create(TENANT_KEY) as writer:
        assert list(place.blobs.strays([known.id])) == []
        with clock.use(Tomorrow()):
            strays = list(place.blobs.strays([known.id]))
        assert set(strays) == {named(unknown.id), named(writer.id)}
        for name in strays:
            place.blobs.delete_stray(name)

    assert place.names() == {named(known.id)}
    assert place.unfinished() == []


class Tomorrow(clock.Clock):
    def now(self):
        return datetime.fromtimestamp(super().now().timestamp() + 25 * 3600, UTC)


def test_many_writers_at_once_do_not_disturb_each_other(place):
    found = {}

    def write(audio):
        found[audio] = place.keep(audio, piece=7777)

    threads = [threading.Thread(target=write, args=(bytes([number]) * 150_000,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 6
    assert all(place.heard(blob) == audio for audio, blob in found.items())


def test_reading_holds_no_more_than_a_stream_may(place):
    blob = place.keep(bytes(40 * CHUNK), piece=CHUNK)
    tracemalloc.start()
    with place.open(blob) as file:
        while file.read(CHUNK):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 2 * 2**20


def test_there_is_room_where_it_is_written_first(place):
    assert place.blobs.free_bytes() > 0


# --- what an object store can do besides ----------------------------------------------------


@pytest.fixture
def bucket(s3, tmp_path):
    return Behind(open_blobs(at_s3(s3, tmp_path)))


def test_a_body_that_arrives_damaged_is_not_kept(bucket, s3):
    s3.damaged = 1
    with bucket.blobs.create(TENANT_KEY) as writer:
        writer.write(b"spoken")
        with pytest.raises(StoreUnavailable):
            writer.commit()

    assert (bucket.names(), bucket.unfinished()) == (set(), [])


def test_an_object_that_is_shorter_than_what_was_sent_is_not_acknowledged(bucket, s3):
    s3.shortened = True
    with bucket.blobs.create(TENANT_KEY) as writer, pytest.raises(StoreUnavailable, match="less than was sent"):
        writer.commit()
    s3.shortened = False

    assert bucket.unfinished() == []


def test_a_store_that_is_busy_for_a_moment_is_asked_again(bucket, s3):
    s3.statuses += [503, 503]

    assert bucket.heard(bucket.keep(b"spoken")) == b"spoken"


def test_a_store_that_refuses_is_an_outage_and_nothing_is_kept(s3, tmp_path):
    stranger = Behind(open_blobs(at_s3(s3, tmp_path, access_key_id="another key")))
    with stranger.blobs.create(TENANT_KEY) as writer, pytest.raises(StoreUnavailable) as refused:
        writer.commit()

    assert refused.value.retry_after == 1
    assert stranger.unfinished() == []
    for asked in (lambda: list(stranger.blobs.strays([])), lambda: stranger.blobs.delete("id")):
        with pytest.raises(StoreUnavailable):
            asked()


def test_a_store_that_is_away_while_audio_is_read_is_no_damage(bucket, s3):
    blob = bucket.keep(os.urandom(30 * CHUNK))
    with bucket.open(blob) as file:
        file.read(10)
        s3.statuses += [403]
        with pytest.raises(StoreUnavailable):
            file.seek(20 * CHUNK) and file.read(10)


def test_a_stream_of_audio_asks_the_store_once_for_many_chunks(bucket, s3):
    blob = bucket.keep(bytes(32 * CHUNK))
    s3.asked.clear()

    bucket.heard(blob)

    assert len(s3.asked) <= 32 // 8 + 3


def test_nothing_is_connected_before_a_fork_needs_it(s3, tmp_path):
    blobs = open_blobs(at_s3(s3, tmp_path))

    assert (blobs._connected, s3.asked) == (None, [])


@pytest.mark.parametrize(
    ("url", "options", "at"),
    [
        ("nowhere://audio", None, "FHIR_BRIDGE_AUDIO_URL"),
        ("s3://audio", '{"no_such_option": "1"}', "FHIR_BRIDGE_AUDIO_URL"),
        ("s3://audio", "region=eu", "FHIR_BRIDGE_AUDIO_OPTIONS"),
        ("s3://audio", '["eu"]', "FHIR_BRIDGE_AUDIO_OPTIONS"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_by_name_of_the_setting(tmp_path, url, options, at):
    with pytest.raises(BadSetting) as refused:
        open_blobs(Settings(data_dir=tmp_path, audio_url=url, audio_options=options))

    assert refused.value.at == at
