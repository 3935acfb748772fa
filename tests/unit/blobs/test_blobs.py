"""Blobs: what was written is what is read, or nothing is."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import os
import tempfile
import threading
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_bridge import clock
from fhir_bridge.blobs import Blob, folder, open_blobs
from fhir_bridge.blobs.folder import Folder
from fhir_bridge.blobs.sealing import CHUNK, TAG
from fhir_bridge.errors import BlobDamaged, NoSpace, StoreUnavailable
from fhir_bridge.settings import Settings

TENANT_KEY = bytes(range(32))
OTHER_KEY = bytes(reversed(range(32)))
SIZES = st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 17]) | st.integers(0, 3 * CHUNK)


@pytest.fixture(scope="module")
def shared():
    """One folder for the property tests, which hypothesis runs many times."""
    with tempfile.TemporaryDirectory() as root:
        yield Folder(Path(root) / "audio")


@pytest.fixture
def blobs(tmp_path):
    return open_blobs(Settings(data_dir=tmp_path))


def kept(blobs: Folder, audio: bytes, *, piece: int = 100_000) -> Blob:
    with blobs.create(TENANT_KEY) as writer:
        for start in range(0, len(audio), piece):
            writer.write(audio[start : start + piece])
        return writer.commit()


def opened(blobs: Folder, blob: Blob, key: bytes = TENANT_KEY):
    return blobs.reader(blob.id, blob.wrapped_key, key, blob.size)


def heard(blobs: Folder, blob: Blob) -> bytes:
    with opened(blobs, blob) as file:
        return file.read()


def file_of(blobs: Folder, blob: Blob) -> Path:
    return next(path for path in files(blobs) if path.name == hashlib.sha256(blob.id.encode()).hexdigest())


def files(blobs: Folder) -> list[Path]:
    return [path for path in blobs._root.rglob("*") if path.is_file()]


def speech(size: int) -> bytes:
    return bytes(os.urandom(64)) * (size // 64) + b"e" * (size % 64)


@settings(max_examples=40, deadline=None)
@given(size=SIZES, pieces=st.lists(st.integers(1, CHUNK * 2), max_size=6), seeks=st.lists(st.integers(0, 3 * CHUNK)))
def test_bytes_written_in_any_pieces_read_back_identical_from_any_place(shared, size, pieces, seeks):
    audio = speech(size)
    with shared.create(TENANT_KEY) as writer:
        rest = memoryview(audio)
        for length in pieces:
            writer.write(rest[:length])
            rest = rest[length:]
        writer.write(rest)
        blob = writer.commit()

    assert heard(shared, blob) == audio
    with opened(shared, blob) as file:
        for start in seeks:
            assert file.seek(start) == start
            assert file.read(1000) == audio[start : start + 1000]
    assert blob.size == size
    assert blob.sha256 == hashlib.sha256(audio).hexdigest()
    assert base64.b64decode(blob.sha1) == hashlib.sha1(audio, usedforsecurity=False).digest()


@settings(max_examples=60, deadline=None)
@given(size=SIZES, where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_single_flipped_bit_is_noticed(shared, size, where, bit):
    blob = kept(shared, speech(size))
    path = file_of(shared, blob)
    stored = bytearray(path.read_bytes())
    stored[int(where * len(stored))] ^= 1 << bit
    path.write_bytes(stored)

    with pytest.raises(BlobDamaged, match="altered"):
        heard(shared, blob)


@settings(max_examples=30, deadline=None)
@given(size=SIZES, where=st.floats(0, 1, exclude_max=True))
def test_a_blob_cut_off_anywhere_does_not_open(shared, size, where):
    blob = kept(shared, speech(size))
    path = file_of(shared, blob)
    os.truncate(path, int(where * path.stat().st_size))

    with pytest.raises(BlobDamaged, match="length"):
        opened(shared, blob)


def test_a_blob_cut_off_between_chunks_does_not_open_under_a_smaller_size(blobs):
    blob = kept(blobs, speech(2 * CHUNK))
    os.truncate(file_of(blobs, blob), CHUNK + TAG)

    with pytest.raises(BlobDamaged):
        blobs.reader(blob.id, blob.wrapped_key, TENANT_KEY, CHUNK)


def test_a_blob_cut_off_while_it_is_read_fails_instead_of_ending_early(blobs):
    blob = kept(blobs, speech(4 * CHUNK))
    with opened(blobs, blob) as file:
        os.truncate(file_of(blobs, blob), CHUNK + TAG)
        with pytest.raises(BlobDamaged, match="shorter"):
            file.read()


def test_two_chunks_exchanged_do_not_open(blobs):
    blob = kept(blobs, speech(3 * CHUNK))
    path = file_of(blobs, blob)
    stored = path.read_bytes()
    step = CHUNK + TAG
    path.write_bytes(stored[step : 2 * step] + stored[:step] + stored[2 * step :])

    with pytest.raises(BlobDamaged):
        heard(blobs, blob)


def test_the_file_of_another_blob_does_not_open_in_its_place(blobs):
    one, other = kept(blobs, b"one"), kept(blobs, b"two")
    file_of(blobs, one).write_bytes(file_of(blobs, other).read_bytes())

    with pytest.raises(BlobDamaged):
        heard(blobs, one)


@pytest.mark.parametrize("wrapped", ["", "not base64", base64.b64encode(bytes(60)).decode()])
def test_a_wrapped_key_that_is_none_is_damage(blobs, wrapped):
    blob = kept(blobs, b"spoken")

    with pytest.raises(BlobDamaged, match="key"):
        blobs.reader(blob.id, wrapped, TENANT_KEY, blob.size)


def test_another_tenants_key_does_not_open_a_blob(blobs):
    blob = kept(blobs, b"spoken")

    with pytest.raises(BlobDamaged, match="key"):
        opened(blobs, blob, OTHER_KEY)


def test_nothing_spoken_and_no_id_is_readable_on_the_disk(blobs):
    blob = kept(blobs, b"patient words " * 10_000)

    everything = b"".join(path.read_bytes() + path.name.encode() for path in files(blobs))
    assert b"patient words" not in everything
    assert blob.id.encode() not in everything


def test_the_same_audio_twice_is_stored_under_two_keys(blobs):
    assert file_of(blobs, kept(blobs, b"same")).read_bytes() != file_of(blobs, kept(blobs, b"same")).read_bytes()


def test_files_are_readable_by_their_owner_only(blobs):
    blob = kept(blobs, b"spoken")
    with blobs.create(TENANT_KEY):
        assert {path.stat().st_mode & 0o777 for path in files(blobs)} == {0o600}
    assert file_of(blobs, blob).parent.stat().st_mode & 0o777 == 0o700


def test_an_aborted_blob_leaves_nothing_behind(blobs):
    with blobs.create(TENANT_KEY) as writer:
        writer.write(b"half a word")

    assert files(blobs) == []


def test_a_blob_is_nowhere_until_it_is_committed(blobs):
    with blobs.create(TENANT_KEY) as writer:
        writer.write(b"spoken")
        assert [path.parent.name for path in files(blobs)] == ["incoming"]
        blob = writer.commit()

    assert file_of(blobs, blob).parent.name == file_of(blobs, blob).name[:2]
    assert heard(blobs, blob) == b"spoken"


def test_a_deleted_blob_is_missing_and_may_be_deleted_again(blobs):
    blob = kept(blobs, b"spoken")
    blobs.delete(blob.id)
    blobs.delete(blob.id)

    with pytest.raises(BlobDamaged, match="missing"):
        opened(blobs, blob)


def test_a_shredded_blob_is_overwritten_before_it_goes(blobs, tmp_path):
    blob = kept(blobs, speech(CHUNK + 5))
    witness = tmp_path / "witness"
    os.link(file_of(blobs, blob), witness)

    blobs.shred(blob.id)
    blobs.shred(blob.id)

    assert witness.read_bytes() == bytes(CHUNK + 5 + 2 * TAG)
    assert files(blobs) == []


def test_a_symlink_in_the_place_of_a_blob_is_not_followed(blobs, tmp_path):
    blob = kept(blobs, b"spoken")
    path = file_of(blobs, blob)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)

    with pytest.raises(BlobDamaged, match="missing"):
        opened(blobs, blob)


def test_only_old_files_without_a_row_are_strays(blobs):
    known, unknown = kept(blobs, b"known"), kept(blobs, b"unknown")
    with blobs.create(TENANT_KEY) as writer:
        assert list(blobs.strays([known.id])) == []
        with clock.use(Tomorrow()):
            strays = list(blobs.strays([known.id]))
        assert set(strays) == {hashlib.sha256(id_.encode()).hexdigest() for id_ in (unknown.id, writer.id)}
        for name in strays:
            blobs.delete_stray(name)

    assert files(blobs) == [file_of(blobs, known)]


class Tomorrow(clock.Clock):
    def now(self):
        return datetime.fromtimestamp(super().now().timestamp() + 25 * 3600, UTC)


def test_a_full_disk_is_no_space_and_keeps_nothing(blobs):
    with blobs.create(TENANT_KEY) as writer:
        with Path("/dev/full").open("wb") as full:
            os.dup2(full.fileno(), writer._file.fileno())
        with pytest.raises(NoSpace):
            writer.write(bytes(2 * CHUNK))

    assert files(blobs) == []


def test_a_folder_that_is_gone_is_an_outage(blobs):
    blobs._root.rename(blobs._root.with_name("moved"))

    with pytest.raises(StoreUnavailable):
        blobs.create(TENANT_KEY)


def test_a_file_that_may_not_be_opened_is_an_outage(blobs):
    blob = kept(blobs, b"spoken")
    path = file_of(blobs, blob)
    path.rename(path.with_name("aside"))
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.write_bytes(b"a file where a folder was")

    with pytest.raises(StoreUnavailable):
        opened(blobs, blob)


def test_a_disk_that_cannot_be_read_is_damage():
    with pytest.raises(BlobDamaged) as caught:
        folder._fetched(-1, 0, 10)

    assert caught.value.__cause__.errno == errno.EBADF


def test_audio_may_be_kept_in_a_folder_named_by_the_settings(tmp_path):
    for name, url in (("plain", str(tmp_path / "plain")), ("url", f"file://{tmp_path / 'url'}")):
        open_blobs(Settings(audio_url=url))
        assert (tmp_path / name / "incoming").is_dir()


def test_the_reader_is_a_file_as_decoders_expect_it(blobs):
    blob = kept(blobs, bytes(range(200)))
    with opened(blobs, blob) as file:
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
        assert file.seek(-10, os.SEEK_END) == 190
        assert file.read(4) == bytes(range(190, 194))
        assert file.seek(2, os.SEEK_CUR) == 196
        assert file.seek(500) == 500
        assert file.read() == b""
        with pytest.raises(ValueError, match="before the start"):
            file.seek(-1)
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"x")
        raw = file.raw
    raw.close()
    assert raw.closed


def test_many_writers_at_once_do_not_disturb_each_other(blobs):
    found: dict[bytes, Blob] = {}

    def write(audio: bytes) -> None:
        found[audio] = kept(blobs, audio, piece=777)

    threads = [threading.Thread(target=write, args=(bytes([number]) * 150_000,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(heard(blobs, blob) == audio for audio, blob in found.items())


def test_a_long_recording_is_never_held_whole(blobs):
    tracemalloc.start()
    try:
        with blobs.create(TENANT_KEY) as writer:
            for _ in range(320):
                writer.write(bytes(100_000))
            blob = writer.commit()
        with opened(blobs, blob) as file:
            while file.read(100_000):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert blob.size == 32_000_000
    assert peak < 2_000_000


def test_free_bytes_is_what_the_disk_says(blobs):
    assert 0 < blobs.free_bytes() <= os.statvfs(blobs._root).f_frsize * os.statvfs(blobs._root).f_blocks
