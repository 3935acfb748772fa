"""Turns audio into sealed chunks and back; knows no disk.

AES-256-GCM per chunk under a key of the blob's own (security.md, audio at rest). The
nonce counts chunks, which is safe because no key is used for a second blob. Each
chunk is bound to the blob's id, its place and whether it is the last one, so a chunk
that was altered, moved, taken from another blob or cut off does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_bridge import clock
from fhir_bridge.errors import BlobDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK: Final = 64 * 1024
TAG: Final = 16
_NONCE: Final = 12
_KEY: Final = 32


@dataclass(frozen=True)
class Blob:
    """Audio that is on disk. `wrapped_key` opens it with the tenant's key, and only then.

    `sha256` is hexadecimal; `sha1` is base64, as FHIR's Attachment.hash wants it
    (http://hl7.org/fhir/R4/datatypes.html#Attachment).
    """

    id: str
    size: int
    sha256: str
    sha1: str
    wrapped_key: str


class Sealer:
    """Seals and hashes audio that arrives in pieces of any length."""

    def __init__(self, blob_id: str) -> None:
        self._id = blob_id
        self._key = clock.token_bytes(_KEY)
        self._cipher = AESGCM(self._key)
        self._pending = bytearray()
        self._index = 0
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._sha1 = hashlib.sha1(usedforsecurity=False)

    def push(self, piece: bytes | bytearray | memoryview) -> Iterator[bytes]:
        """Take a piece; yield the chunks that are known not to be the last."""
        self._sha256.update(piece)
        self._sha1.update(piece)
        self._size += len(piece)
        for start in range(0, len(piece), CHUNK):
            self._pending += piece[start : start + CHUNK]
            while len(self._pending) > CHUNK:
                yield self._sealed(CHUNK, last=False)

    def finish(self) -> bytes:
        """Seal what is left as the last chunk; an empty blob is one empty chunk."""
        return self._sealed(CHUNK, last=True)

    def blob(self, tenant_key: bytes) -> Blob:
        """Describe what went through, with its key wrapped under the tenant's."""
        sha1 = base64.b64encode(self._sha1.digest()).decode()
        return Blob(self._id, self._size, self._sha256.hexdigest(), sha1, _wrapped(self._key, tenant_key, self._id))

    def _sealed(self, length: int, *, last: bool) -> bytes:
        chunk = bytes(self._pending[:length])
        del self._pending[:length]
        sealed = self._cipher.encrypt(_nonce(self._index), chunk, _place(self._id, self._index, last=last))
        self._index += 1
        return sealed


class Opener:
    """Opens single chunks of one blob of known size."""

    def __init__(self, blob_id: str, wrapped_key: str, tenant_key: bytes, size: int) -> None:
        self._id = blob_id
        self._cipher = AESGCM(_unwrapped(wrapped_key, tenant_key, blob_id))
        self._last = max(0, size - 1) // CHUNK
        self.size = size
        self.stored_size = size + (self._last + 1) * TAG

    def span(self, index: int) -> tuple[int, int]:
        """Tell where a sealed chunk lies: its offset and its length."""
        start = index * (CHUNK + TAG)
        return start, min(CHUNK + TAG, self.stored_size - start)

    def opened(self, index: int, sealed: bytes) -> bytes:
        """Give back the audio of a chunk.

        Raises:
            BlobDamaged: not what was written at this place.
        """
        try:
            return self._cipher.decrypt(_nonce(index), sealed, _place(self._id, index, last=index == self._last))
        except InvalidTag as exc:
            raise BlobDamaged("Stored audio does not verify: it was altered or cut off; send it again") from exc


def _nonce(index: int) -> bytes:
    return index.to_bytes(_NONCE, "big")


def _place(blob_id: str, index: int, *, last: bool) -> bytes:
    return f"{blob_id}:{index}:{'last' if last else 'more'}".encode()


def _wrapped(key: bytes, tenant_key: bytes, blob_id: str) -> str:
    nonce = clock.token_bytes(_NONCE)
    return base64.b64encode(nonce + AESGCM(tenant_key).encrypt(nonce, key, blob_id.encode())).decode()


def _unwrapped(wrapped: str, tenant_key: bytes, blob_id: str) -> bytes:
    try:
        raw = base64.b64decode(wrapped, validate=True)
        return AESGCM(tenant_key).decrypt(raw[:_NONCE], raw[_NONCE:], blob_id.encode())
    except (binascii.Error, ValueError, InvalidTag) as exc:
        raise BlobDamaged("The key of stored audio does not open under this tenant's key") from exc
