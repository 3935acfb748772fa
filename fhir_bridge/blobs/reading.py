"""A read-only file over sealed chunks: seekable, verified, one chunk in memory."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Final

from fhir_bridge.blobs.sealing import CHUNK
from fhir_bridge.errors import BlobDamaged

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from fhir_bridge.blobs.sealing import Opener

_NO_CHUNK: Final = -1


class SealedFile(io.RawIOBase):
    """Audio as a file. `fetch(offset, length)` brings sealed bytes, from a disk or an object store."""

    def __init__(self, opener: Opener, fetch: Callable[[int, int], bytes], release: Callable[[], None]) -> None:
        self._opener = opener
        self._fetch = fetch
        self._release = release
        self._at = 0
        self._index = _NO_CHUNK
        self._chunk = b""

    def readable(self) -> bool:
        """Answer yes."""
        return True

    def seekable(self) -> bool:
        """Answer yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte of the audio; past the end is allowed and reads as the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._opener.size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the start")
        self._at = base + offset
        return self._at

    def readinto(self, target: Buffer, /) -> int:
        """Read up to the end of one chunk."""
        if self._at >= self._opener.size:
            return 0
        within = self._at % CHUNK
        view = memoryview(target).cast("B")
        piece = self._opened(self._at // CHUNK)[within : within + len(view)]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def verify_length(self, stored: int) -> None:
        """Fail before the first byte is used when `stored` sealed bytes are not what was written.

        The last chunk is opened, because only it knows that it is the last.

        Raises:
            BlobDamaged: cut off, grown, or opened with another size.
        """
        if stored != self._opener.stored_size:
            raise BlobDamaged("Stored audio does not have the length that was written; send it again")
        self._opened(max(0, self._opener.size - 1) // CHUNK)

    def close(self) -> None:
        """Release what `fetch` reads from."""
        if not self.closed:
            self._release()
        super().close()

    def _opened(self, index: int) -> bytes:
        if index != self._index:
            offset, length = self._opener.span(index)
            sealed = self._fetch(offset, length)
            if len(sealed) != length:
                raise BlobDamaged("Stored audio is shorter than what was written; send it again")
            self._chunk = self._opener.opened(index, sealed)
            self._index = index
        return self._chunk
