"""A blob being written: sealed into a file of its own, which is given its place once it is whole."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self

from fhir_bridge import clock, points
from fhir_bridge.blobs.sealing import Blob, Sealer
from fhir_bridge.errors import NoSpace, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

STRAY_SECONDS: Final = 24 * 3600.0  # a file or object this old that no row names belongs to nobody
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def name_of(blob_id: str) -> str:
    """Return what a blob is stored as: a hash, which tells nothing."""
    return sha256(blob_id.encode()).hexdigest()


class BlobWriter:
    """A blob being written. Leaving its `with` block without `commit` leaves nothing behind."""

    def __init__(self, incoming: Path, tenant_key: bytes, keep: Callable[[Path], None]) -> None:
        """Write into the folder `incoming`; `keep` makes the whole, synced file durable where it belongs."""
        self.id = clock.new_id()
        self.size = 0
        self._tenant_key = tenant_key
        self._keep = keep
        self._path = incoming / name_of(self.id)
        self._sealer = Sealer(self.id)
        with disk():
            self._file = os.fdopen(
                os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb", 0
            )

    def write(self, piece: bytes | bytearray | memoryview) -> int:
        """Seal, hash and store a piece of any length.

        Raises:
            NoSpace: the disk is full; nothing of this blob will be kept.
        """
        with disk():
            for sealed in self._sealer.push(piece):
                self._put(sealed)
        points.reached("blob.written")
        self.size += len(piece)
        return len(piece)

    def commit(self) -> Blob:
        """Make the blob durable: file synced, then kept (reliability.md rule 1)."""
        with disk():
            self._put(self._sealer.finish())
            points.reached("blob.finished")
            os.fsync(self._file.fileno())
            self._file.close()
            points.reached("blob.synced")
            self._keep(self._path)
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
def disk() -> Iterator[None]:
    """Translate what a disk can refuse."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise NoSpace("The disk is full: nothing of this audio was kept; send it again later") from exc
        raise StoreUnavailable("The audio folder did not take the write; nothing was kept") from exc
