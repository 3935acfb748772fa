"""Sealed audio in an object store that many machines reach: S3 and all else that obstore speaks.

A blob is sealed into a file of this machine first, so that a broken upload from an EHR
costs the store nothing and a put can be repeated. It is acknowledged once the store has
acknowledged the whole object, on S3 with the SHA-256 of each part, and its size.
"""

from __future__ import annotations

import io
import os
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from fhir_bridge import clock, points
from fhir_bridge.blobs.reading import SealedFile
from fhir_bridge.blobs.sealing import CHUNK, Opener
from fhir_bridge.blobs.writing import STRAY_SECONDS, BlobWriter, disk, name_of
from fhir_bridge.errors import BadSetting, BlobDamaged, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from obstore.store import ObjectStore

AHEAD: Final = 8 * CHUNK  # fetched at once: half of what one stream may hold (reliability.md, rule 10)
_PART: Final = 8 * 2**20
_PARTS_AT_ONCE: Final = 2
_CLIENT: Final = {"timeout": "60s", "connect_timeout": "5s"}
_RETRIES: Final = 3
_LONGEST: Final = timedelta(seconds=30)
_S3: Final = frozenset({"s3", "s3a"})


class Bucket:
    """Every blob of this bridge, in an object store. Object names are hashes of blob ids and tell nothing."""

    def __init__(self, url: str, options: Mapping[str, str], outgoing: Path) -> None:
        """Nothing is connected yet: a fork inherits no threads. `outgoing` is a folder of this machine.

        Raises:
            BadSetting: no such kind of store, or an option it does not know.
        """
        self._url = url
        self._options = ({"checksum_algorithm": "SHA256"} if url.partition("://")[0] in _S3 else {}) | dict(options)
        self._outgoing = outgoing
        self._connected: tuple[int, ObjectStore] | None = None
        with disk():
            outgoing.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._connect()
        except (BaseError, ValueError, TypeError) as exc:
            at = "FHIR_BRIDGE_AUDIO_URL"
            text = f"{at} and FHIR_BRIDGE_AUDIO_OPTIONS name no object store that can be used: see docs/operations.md"
            raise BadSetting(text, at=at) from exc

    def create(self, tenant_key: bytes) -> BlobWriter:
        """Begin a blob that only `tenant_key` will open."""
        return BlobWriter(self._outgoing, tenant_key, self._keep)

    def reader(self, blob_id: str, wrapped_key: str, tenant_key: bytes, size: int) -> BinaryIO:
        """Open a blob as a seekable read-only file that verifies each chunk it gives out.

        Raises:
            BlobDamaged: missing, cut off, altered, or another key; also from `read`.
            StoreUnavailable: the store does not answer; also from `read`.
        """
        path = _path(name_of(blob_id))
        opener = Opener(blob_id, wrapped_key, tenant_key, size)
        with _asked():
            stored = obstore.head(self._store, path)["size"]
        raw = SealedFile(opener, _Ahead(self._store, path, opener.stored_size).fetch, lambda: None)
        raw.verify_length(stored)
        return io.BufferedReader(raw, CHUNK)

    def delete(self, blob_id: str) -> None:
        """Remove a blob; one that is gone already is fine."""
        self.delete_stray(name_of(blob_id))

    def shred(self, blob_id: str) -> None:
        """Remove a blob: an object is never written in place, so there is nothing to overwrite.

        What makes erasure certain, also of versions that a bucket keeps, is destroying the wrapped key.
        """
        self.delete(blob_id)

    def strays(self, known: Iterable[str], *, older_than: float = STRAY_SECONDS) -> Iterator[str]:
        """Name objects that no row refers to, and files that never became one: `known` are the ids that rows hold.

        Younger ones than `older_than` seconds are left out: their row may be on its way.
        """
        names = {name_of(blob_id) for blob_id in known}
        newest = clock.now().timestamp() - older_than
        with _asked():
            for page in obstore.list(self._store):
                for found in page:
                    name = found["path"].rpartition("/")[2]
                    if name not in names and found["last_modified"].timestamp() <= newest:
                        yield name
        for path in self._outgoing.iterdir():
            with suppress(FileNotFoundError):  # its writer ends at the same time
                if path.lstat().st_mtime <= newest:
                    yield path.name

    def delete_stray(self, name: str) -> None:
        """Remove what `strays` named."""
        with _asked(), suppress(FileNotFoundError):
            obstore.delete(self._store, _path(name))
        points.reached("blob.removed")
        with disk():
            (self._outgoing / name).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Tell how much may still be written to this machine on its way to the store."""
        local = os.statvfs(self._outgoing)
        return local.f_bavail * local.f_frsize

    def _keep(self, written: Path) -> None:
        """Put a whole file into the store, and believe it only when the object is there in its length."""
        path, size = _path(written.name), written.stat().st_size
        with _asked():
            with written.open("rb") as file:
                obstore.put(self._store, path, file, chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE)
            stored = obstore.head(self._store, path)["size"]
        if stored != size:
            raise StoreUnavailable("The object store kept less than was sent; nothing was accepted", retry_after=1)
        points.reached("blob.renamed")
        written.unlink()

    @property
    def _store(self) -> ObjectStore:
        if self._connected is None or self._connected[0] != os.getpid():
            self._connected = (os.getpid(), self._connect())
        return self._connected[1]

    def _connect(self) -> ObjectStore:
        plain = self._options.get("endpoint", self._options.get("aws_endpoint", "")).startswith("http://")
        return from_url(  # type: ignore[call-overload,no-any-return]  # which options there are depends on the URL
            self._url,
            config=self._options,
            client_options={**_CLIENT, "allow_http": plain},
            retry_config={"max_retries": _RETRIES, "retry_timeout": _LONGEST},
        )


class _Ahead:
    """Fetches more than is asked for: the next chunks are on their way to Corti soon."""

    def __init__(self, store: ObjectStore, path: str, size: int) -> None:
        self._store = store
        self._path = path
        self._size = size
        self._start = 0
        self._held = b""

    def fetch(self, offset: int, length: int) -> bytes:
        if not self._start <= offset <= offset + length <= self._start + len(self._held):
            wanted = min(max(length, AHEAD), self._size - offset)
            with _asked():
                self._held = bytes(obstore.get_range(self._store, self._path, start=offset, length=wanted))
            self._start = offset
        return self._held[offset - self._start :][:length]


@contextmanager
def _asked() -> Iterator[None]:
    """Translate what a store can answer."""
    try:
        yield
    except FileNotFoundError as exc:
        raise BlobDamaged("Stored audio is missing; send it again") from exc
    except (BaseError, OSError) as exc:
        text = "The object store of the audio did not take the request; nothing was kept, repeat it"
        raise StoreUnavailable(text, retry_after=1) from exc


def _path(name: str) -> str:
    return f"{name[:2]}/{name}"
