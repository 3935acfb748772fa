"""Sealed audio in a folder of a local disk."""

from __future__ import annotations

import errno
import io
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock, points
from fhir_bridge.blobs.reading import SealedFile
from fhir_bridge.blobs.sealing import CHUNK, Opener
from fhir_bridge.blobs.writing import STRAY_SECONDS, BlobWriter, disk, name_of
from fhir_bridge.errors import BlobDamaged, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

INCOMING: Final = "incoming"
_ABSENT: Final = frozenset({errno.ENOENT, errno.ELOOP})


class Folder:
    """Every blob of this bridge, in a folder. File names are hashes of blob ids and tell nothing."""

    def __init__(self, root: Path) -> None:
        """Make the folders. Each process syncs them itself: another may have died before it did."""
        self._root = root
        with disk():
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in (INCOMING, *(f"{number:02x}" for number in range(256))):
                (root / name).mkdir(exist_ok=True, mode=0o700)
            _sync_folder(root)
            _sync_folder(root.parent)

    def create(self, tenant_key: bytes) -> BlobWriter:
        """Begin a blob that only `tenant_key` will open."""
        return BlobWriter(self._root / INCOMING, tenant_key, self._keep)

    def _keep(self, written: Path) -> None:
        """Give a whole file its place: renamed, folder synced."""
        final = _path(self._root, written.name)
        written.rename(final)
        points.reached("blob.renamed")
        _sync_folder(final.parent)

    def reader(self, blob_id: str, wrapped_key: str, tenant_key: bytes, size: int) -> BinaryIO:
        """Open a blob as a seekable read-only file that verifies each chunk it gives out.

        Raises:
            BlobDamaged: missing, cut off, altered, or another key; also from `read`.
        """
        opener = Opener(blob_id, wrapped_key, tenant_key, size)
        descriptor = _descriptor(_path(self._root, name_of(blob_id)))
        raw = SealedFile(opener, partial(_fetched, descriptor), partial(os.close, descriptor))
        try:
            raw.verify_length(os.fstat(descriptor).st_size)
        except BaseException:
            raw.close()
            raise
        return io.BufferedReader(raw, CHUNK)

    def delete(self, blob_id: str) -> None:
        """Remove a blob; one that is gone already is fine."""
        self.delete_stray(name_of(blob_id))

    def shred(self, blob_id: str) -> None:
        """Overwrite a blob, then remove it.

        What makes erasure certain is destroying the wrapped key; overwriting adds what
        a file system that writes in place can give.
        """
        path = _path(self._root, name_of(blob_id))
        with disk(), suppress(FileNotFoundError):
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
        names = {name_of(blob_id) for blob_id in known}
        newest = clock.now().timestamp() - older_than
        for folder in self._root.iterdir():
            for path in folder.iterdir():
                with suppress(FileNotFoundError):  # another process collects at the same time
                    if path.lstat().st_mtime <= newest and (folder.name == INCOMING or path.name not in names):
                        yield path.name

    def delete_stray(self, name: str) -> None:
        """Remove a file that `strays` named."""
        with disk():
            for path in (_path(self._root, name), self._root / INCOMING / name):
                path.unlink(missing_ok=True)
                points.reached("blob.removed")
                _sync_folder(path.parent)

    def free_bytes(self) -> int:
        """Tell how much may still be written here."""
        disk = os.statvfs(self._root)
        return disk.f_bavail * disk.f_frsize


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


def _path(root: Path, name: str) -> Path:
    return root / name[:2] / name


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
