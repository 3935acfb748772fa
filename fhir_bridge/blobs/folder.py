"""Sealed audio in a folder of a local disk."""

from __future__ import annotations

import errno
import io
import os
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from fhir_bridge import clock, points
from fhir_bridge.blobs.reading import SealedFile
from fhir_bridge.blobs.sealing import CHUNK, Blob, Opener, Sealer
from fhir_bridge.errors import BadSetting, BlobDamaged, NoSpace, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import BinaryIO

    from fhir_bridge.settings import Settings

INCOMING: Final = "incoming"
STRAY_SECONDS: Final = 24 * 3600.0
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ABSENT: Final = frozenset({errno.ENOENT, errno.ELOOP})


class Blobs:
    """Every blob of this bridge. File names are hashes of blob ids and tell nothing."""

    def __init__(self, root: Path) -> None:
        """Make the folders. Each process syncs them itself: another may have died before it did."""
        self._root = root
        with _disk():
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in (INCOMING, *(f"{number:02x}" for number in range(256))):
                (root / name).mkdir(exist_ok=True, mode=0o700)
            _sync_folder(root)
            _sync_folder(root.parent)

    @classmethod
    def open(cls, settings: Settings) -> Blobs:
        """Open the folder that `FHIR_BRIDGE_AUDIO_URL` names, else `audio` in the data directory."""
        url = settings.audio_url
        if url is None:
            return cls(settings.data_dir / "audio")
        scheme, separator, path = url.partition("://")
        if separator and scheme != "file":
            raise BadSetting(
                f"Audio cannot be kept at {scheme}:// yet; name a folder or file:// URL", at="FHIR_BRIDGE_AUDIO_URL"
            )
        return cls(Path(path if separator else url))

    def create(self, tenant_key: bytes) -> BlobWriter:
        """Begin a blob that only `tenant_key` will open."""
        return BlobWriter(self._root, tenant_key)

    def reader(self, blob_id: str, wrapped_key: str, tenant_key: bytes, size: int) -> BinaryIO:
        """Open a blob as a seekable read-only file that verifies each chunk it gives out.

        Raises:
            BlobDamaged: missing, cut off, altered, or another key; also from `read`.
        """
        opener = Opener(blob_id, wrapped_key, tenant_key, size)
        descriptor = _descriptor(_path(self._root, _name(blob_id)))
        raw = SealedFile(opener, partial(_fetched, descriptor), partial(os.close, descriptor))
        try:
            raw.verify_length(os.fstat(descriptor).st_size)
        except BaseException:
            raw.close()
            raise
        return io.BufferedReader(raw, CHUNK)

    def delete(self, blob_id: str) -> None:
        """Remove a blob; one that is gone already is fine."""
        self.delete_stray(_name(blob_id))

    def shred(self, blob_id: str) -> None:
        """Overwrite a blob, then remove it.

        What makes erasure certain is destroying the wrapped key; overwriting adds what
        a file system that writes in place can give.
        """
        path = _path(self._root, _name(blob_id))
        with _disk(), suppress(FileNotFoundError):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "wb") as file:
                for start in range(0, size := os.fstat(file.fileno()).st_size, CHUNK):
                    file.write(bytes(min(CHUNK, size - start)))
                file.flush()
                os.fsync(file.fileno())
            self.delete(blob_id)

    def strays(self, known: Iterable[str], *, older_than: float = STRAY_SECONDS) -> Iterator[str]:
        """Name files no row refers to: `known` are the ids that rows hold.

        Files younger than `older_than` seconds are left out: their row may be on its
        way (reliability.md rule 1). Half-written files count, under `incoming`.
        """
        names = {_name(blob_id) for blob_id in known}
        newest = clock.now().timestamp() - older_than
        for folder in self._root.iterdir():
            for path in folder.iterdir():
                with suppress(FileNotFoundError):  # another process collects at the same time
                    if path.lstat().st_mtime <= newest and (folder.name == INCOMING or path.name not in names):
                        yield path.name

    def delete_stray(self, name: str) -> None:
        """Remove a file that `strays` named."""
        with _disk():
            for path in (_path(self._root, name), self._root / INCOMING / name):
                path.unlink(missing_ok=True)
                points.reached("blob.removed")
                _sync_folder(path.parent)

    def free_bytes(self) -> int:
        """Tell how much may still be written here."""
        disk = os.statvfs(self._root)
        return disk.f_bavail * disk.f_frsize


class BlobWriter:
    """A blob being written. Leaving its `with` block without `commit` leaves nothing behind."""

    def __init__(self, root: Path, tenant_key: bytes) -> None:
        self.id = clock.new_id()
        self.size = 0
        self._tenant_key = tenant_key
        self._final = _path(root, _name(self.id))
        self._path = root / INCOMING / _name(self.id)
        self._sealer = Sealer(self.id)
        with _disk():
            self._file = os.fdopen(
                os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb", 0
            )

    def write(self, piece: bytes | bytearray | memoryview) -> int:
        """Seal, hash and store a piece of any length.

        Raises:
            NoSpace: the disk is full; nothing of this blob will be kept.
        """
        with _disk():
            for sealed in self._sealer.push(piece):
                self._put(sealed)
        points.reached("blob.written")
        self.size += len(piece)
        return len(piece)

    def commit(self) -> Blob:
        """Make the blob durable: file synced, renamed, folder synced (reliability.md rule 1)."""
        with _disk():
            self._put(self._sealer.finish())
            points.reached("blob.finished")
            os.fsync(self._file.fileno())
            self._file.close()
            points.reached("blob.synced")
            self._path.rename(self._final)
            points.reached("blob.renamed")
            _sync_folder(self._final.parent)
        points.reached("blob.durable")
        return self._sealer.blob(self._tenant_key)

    def abort(self) -> None:
        """Drop what was written; after `commit` it does nothing."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _put(self, sealed: bytes) -> None:
        view = memoryview(sealed)
        while view:
            view = view[self._file.write(view) :]


@contextmanager
def _disk() -> Iterator[None]:
    """Translate what a disk can refuse."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise NoSpace("The disk is full: nothing of this audio was kept; send it again later") from exc
        raise StoreUnavailable("The audio folder did not take the write; nothing was kept") from exc


def _descriptor(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno in _ABSENT:
            raise BlobDamaged("Stored audio is missing; send it again") from exc
        raise StoreUnavailable("The audio folder cannot be read") from exc


def _fetched(descriptor: int, offset: int, length: int) -> bytes:
    try:
        return os.pread(descriptor, length, offset)
    except OSError as exc:
        raise BlobDamaged("Stored audio cannot be read from the disk; send it again") from exc


def _name(blob_id: str) -> str:
    return sha256(blob_id.encode()).hexdigest()


def _path(root: Path, name: str) -> Path:
    return root / name[:2] / name


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
