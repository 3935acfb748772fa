"""A Binary in parts, for hour-long recordings over bad lines (ruling 21).

What arrives is sealed in parts that are durable one by one, each a blob of its own; the
last one joins them to the Binary's blob. So neither a broken line nor a killed process
costs more than the part at hand, no key seals two contents at one place, and a Binary
is never there in half.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock, points
from fhir_bridge.errors import Malformed, NoSpace, NotFound, StoreUnavailable, TooLarge, VersionConflict, WrongOffset
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.store import binaries, uploads
from fhir_bridge.store.uploads import Part, Upload
from fhir_bridge.store.versions import now_ms
from fhir_bridge.verbs.binary import DATA, raw_json
from fhir_bridge.verbs.case import Case
from fhir_bridge.verbs.intake import tenant_key
from fhir_bridge.verbs.plan import commit
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import find
from fhir_bridge.verbs.write import entry, planned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from fhir_bridge.blobs import Blobs
    from fhir_bridge.blobs.sealing import Blob
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store import Store
    from fhir_bridge.verbs.bridge import Bridge

LIFE_MS: Final = 24 * 3_600_000  # then what is there of it is removed
PART: Final = 4 * 2**20  # the most that a killed process costs
_PIECE: Final = 64 * 1024


@dataclass(frozen=True)
class Standing:
    """How far an upload is. `expires_ms` is None once it has become a Binary."""

    id: str
    offset: int
    size: int
    expires_ms: int | None


def begin(bridge: Bridge, grant: Grant, *, size: int, content_type: str, context: str | None) -> Standing:
    """Begin an upload of `size` bytes.

    Raises:
        TooLarge: over the limit of a Binary. NoSpace: there is no room for it.
    """
    allowed(grant, ("Binary",), "c")
    limit = bridge.settings.max_binary_bytes
    if size > limit:
        raise TooLarge(f"A Binary has at most {limit} bytes")
    if not size:
        raise Malformed("A Binary has content: an upload of no bytes is none")
    if bridge.blobs.free_bytes() - 2 * size < bridge.settings.min_free_bytes:  # its parts, and what they are joined to
        raise NoSpace("The bridge is short of disk space: send it again later", retry_after=60)
    new = Upload(grant.tenant, clock.new_id(), grant.client, size, content_type, context, now_ms())
    case = _case(bridge, grant, new)
    case.version(checked(case.json))  # refused now is better than refused after an hour of uploading
    bridge.store.write(lambda conn: uploads.begin(conn, new))
    points.reached("upload.begun")
    return Standing(new.id, 0, size, new.created_ms + LIFE_MS)


def standing(bridge: Bridge, grant: Grant, id_: str) -> Standing:
    """Tell how far an upload is; one that is complete is a Binary.

    Raises:
        NotFound: none of this client, or too old.
    """
    allowed(grant, ("Binary",), "c")
    done = _finished(bridge, grant, id_)
    if done is not None:
        return done
    upload = bridge.store.read(lambda conn: uploads.of(conn, grant.tenant, id_))
    if upload is None or upload.client != grant.client or upload.created_ms < now_ms() - LIFE_MS:
        raise NotFound("There is no such upload: begin it anew")
    return _at(upload, bridge.store.read(lambda conn: uploads.received(conn, upload)))


def append(bridge: Bridge, grant: Grant, at: Standing, chunks: Iterable[bytes], *, request: str) -> Standing:
    """Take bytes at the end of an upload, as many as arrive; with the last of them it becomes a Binary.

    Raises:
        WrongOffset: others came before. TooLarge: more bytes than were announced.
    """
    upload = bridge.store.read(lambda conn: uploads.of(conn, grant.tenant, at.id))
    if upload is None or at.expires_ms is None:
        raise WrongOffset("This upload is complete: it takes no more bytes")
    key, offset = tenant_key(bridge, grant.tenant), at.offset
    for blob in _sealed(bridge.blobs, key, chunks):
        with ExitStack() as unkept:
            unkept.push(_dropping(bridge.blobs, blob.id))
            part = Part(offset, blob.size, blob.id, blob.wrapped_key)
            offset += blob.size
            if offset > upload.size:
                raise TooLarge(f"More bytes than the {upload.size} that were announced")
            if offset == upload.size:
                _join(bridge, grant, upload, (part, key, request))
                return Standing(upload.id, offset, upload.size, None)
            _keep(bridge, upload, part)
            unkept.pop_all()
    return _at(upload, offset)


def expire(store: Store, blobs: Blobs) -> int:
    """Remove uploads that nobody ended in time, and those that became a Binary; return how many."""
    old = store.of_all().read(lambda conn: uploads.older_than(conn, now_ms() - LIFE_MS))
    for upload in old:
        _forget(store.of(upload.tenant), blobs, upload)
    return len(old)


def _finished(bridge: Bridge, grant: Grant, id_: str) -> Standing | None:
    content = bridge.store.read(lambda conn: binaries.of(conn, grant.tenant, id_))
    if content is None or find(bridge, allowed(grant, ("Binary",), "c"), "Binary", id_) is None:
        return None
    return Standing(id_, content.size, content.size, None)


def _at(upload: Upload, offset: int) -> Standing:
    return Standing(upload.id, offset, upload.size, upload.created_ms + LIFE_MS)


def _sealed(blobs: Blobs, key: bytes, chunks: Iterable[bytes]) -> Iterator[Blob]:
    """Seal what arrives, a part at a time."""
    arriving = iter(chunks)
    while True:
        with blobs.create(key) as writer:
            for chunk in arriving:
                writer.write(chunk)
                if writer.size >= PART:
                    break
            if not writer.size:
                return
            blob = writer.commit()
        yield blob


def _dropping(blobs: Blobs, id_: str) -> Callable[..., None]:
    """Return what removes a blob that no row names: not where the store did not say, which may have written it."""

    def drop(_kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, StoreUnavailable):
            blobs.delete(id_)

    return drop


def _keep(bridge: Bridge, upload: Upload, part: Part) -> None:
    if not bridge.store.write(lambda conn: uploads.add(conn, upload, part)):
        raise WrongOffset("Another request went on with this upload: ask for its offset")
    points.reached("upload.kept")


def _join(bridge: Bridge, grant: Grant, upload: Upload, last: tuple[Part, bytes, str]) -> None:
    """Make the Binary of all parts. Until it is there the last part is not, so an interruption is made up for."""
    part, key, request = last
    parts = [*bridge.store.read(lambda conn: uploads.parts(conn, upload)), part]
    if sum(each.size for each in parts) != upload.size:
        raise WrongOffset("Another request went on with this upload: ask for its offset")
    with ExitStack() as unkept:
        writer = unkept.enter_context(bridge.blobs.create(key))
        for each in parts:
            with bridge.blobs.reader(each.blob, each.wrapped_key, key, each.size) as file:
                for piece in _pieces(file):
                    writer.write(piece)
        blob = writer.commit()
        unkept.push(_dropping(bridge.blobs, blob.id))
        case = replace(_case(bridge, grant, upload), blobs={DATA: blob})
        try:
            commit(bridge, grant.tenant, planned(case), [entry(case, request, 201)])
        except VersionConflict as exc:
            raise WrongOffset("Another request has ended this upload") from exc
        unkept.pop_all()
    points.reached("upload.joined")
    _forget(bridge.store, bridge.blobs, upload)


def _case(bridge: Bridge, grant: Grant, upload: Upload) -> Case:
    json = raw_json(upload.content_type, upload.context) | {"id": upload.id}
    return Case(bridge, grant, json, "POST", expect=0)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _forget(store: Store, blobs: Blobs, upload: Upload) -> None:
    """Remove rows, then files: a crash in between leaves strays, which are collected."""
    parts = store.read(lambda conn: uploads.parts(conn, upload))
    store.write(lambda conn: uploads.forget(conn, upload))
    points.reached("upload.forgotten")
    for part in parts:
        blobs.delete(part.blob)
