"""Bodies as they come in: audio straight into encrypted blobs, the rest through the strict reader."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Self

from fhir_bridge import net, points
from fhir_bridge.errors import BridgeError, Forbidden, Malformed, NoSpace, StoreUnavailable, TooLarge
from fhir_bridge.fhir.resource.cut import Cutter, expression_of
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.store import oauth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from fhir_bridge.blobs import BlobWriter
    from fhir_bridge.blobs.sealing import Blob
    from fhir_bridge.fhir.resource.cut import Path
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.verbs.bridge import Bridge


def tenant_key(bridge: Bridge, tenant: str) -> bytes:
    """Return the key that wraps the keys of a tenant's blobs."""
    row = bridge.store.read(lambda conn: oauth.tenant(conn, tenant))
    if row is None:
        raise Forbidden("There is no such tenant")
    return row.open_audio_key(bridge.keyring)


class Intake:
    """One request's body. What was written and not kept is removed when its `with` block ends.

    `blobs` are the audio strings that were cut out, by element path without the root type.
    """

    def __init__(self, bridge: Bridge, tenant: str) -> None:
        if bridge.blobs.free_bytes() < bridge.settings.min_free_bytes:
            raise NoSpace("The bridge is short of disk space: send it again later", retry_after=60)
        self._bridge = bridge
        self._tenant = tenant
        self._key = tenant_key(bridge, tenant)
        self._writers: dict[str, BlobWriter] = {}
        self._open = ExitStack()
        self.blobs: dict[str, Blob] = {}
        points.reached("intake.begun")

    def json(self, chunks: Iterable[bytes], *, limit: int, of: str) -> Json:
        """Read a resource of type `of`, of at most `limit` bytes besides its audio.

        Raises:
            Malformed: not JSON as FHIR wants it.
            Invalid: audio that is not base64.
            TooLarge: over a limit (ruling 19).
        """
        documents = self._bridge.settings.max_inline_document_bytes
        cutter = Cutter(partial(self._sink, of), limit=limit, documents=documents, root=of)
        size = 0
        for chunk in chunks:
            size += len(chunk)
            cutter.feed(chunk)
        if not size:
            raise Malformed("The body is empty: send a FHIR resource")
        json = read(cutter.close())
        if json.get("resourceType") != of:
            raise Malformed(f"The body has to be a {of} here", at="resourceType")
        self._commit()
        return json

    def small(self, chunks: Iterable[bytes], *, limit: int) -> bytes:
        """Read a body that is no resource, such as a patch, of at most `limit` bytes."""
        body = bytearray()
        for chunk in chunks:
            body += chunk
            if len(body) > limit:
                raise TooLarge(f"The body is larger than {limit} bytes")
        return bytes(body)

    def raw(self, chunks: Iterable[bytes]) -> Blob:
        """Read a raw body into one blob."""
        write = self._writer("Binary", "data", self._bridge.settings.max_binary_bytes)
        for chunk in chunks:
            write(chunk)
        self._commit()
        if not self.blobs["data"].size:
            raise Malformed("The body is empty: send the content of the Binary")
        return self.blobs["data"]

    def fetched(self, at: str, url: str, *, of: str, seconds: float) -> None:
        """Take the audio string at `at` from another host, as if the body had brought it.

        Raises:
            BusinessRule: the URL may not be fetched, or does not give the whole of it.
            TooLarge: more than a Binary may have.
        """
        settings = self._bridge.settings
        write = self._writer(of, at, settings.max_binary_bytes)
        element, private = f"{of}.{at.removesuffix('data')}url", settings.allow_private_endpoints
        try:
            net.download(url, write, seconds=seconds, allow_private=private, at=element)
        except BridgeError:
            del self._writers[at]
            raise
        self._commit()

    def keep(self, ids: Iterable[str] | None = None) -> None:
        """Say that the store refers to the blobs now, or to those with these ids."""
        points.reached("intake.kept")
        kept = None if ids is None else frozenset(ids)
        self.blobs = {at: blob for at, blob in self.blobs.items() if kept is not None and blob.id not in kept}

    def _sink(self, of: str, path: Path) -> Callable[[bytes], object]:
        return self._writer(of, expression_of(path), self._bridge.settings.max_inline_audio_bytes)

    def _writer(self, of: str, at: str, limit: int) -> Callable[[bytes], object]:
        writer = self._open.enter_context(self._bridge.blobs.create(self._key))
        self._writers[at] = writer

        def write(piece: bytes) -> None:
            if writer.size + len(piece) > limit:
                raise TooLarge(f"More than {limit} bytes: upload a longer recording as a Binary first", at=f"{of}.{at}")
            writer.write(piece)

        return write

    def _commit(self) -> None:
        for at, writer in self._writers.items():
            self.blobs[at] = writer.commit()
        self._writers = {}
        points.reached("intake.sealed")

    def __enter__(self) -> Self:
        """Wait for a turn, and hold it until the request is done.

        Raises:
            Throttled, Overloaded: too many are being read; nothing was.
        """
        self._open.enter_context(self._bridge.door.inside(self._bridge.settings, self._tenant))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        if isinstance(error, StoreUnavailable):
            return  # it may have been written all the same: a stray is collected later, lost audio is lost
        for blob in self.blobs.values():
            self._bridge.blobs.delete(blob.id)
