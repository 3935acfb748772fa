"""What container headers claim, held against the file: lengths that lie, indexes that come last.

Reads headers only, never audio, and a bounded number of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge.audio.sniff import HEAD, TAG_HEAD, sniff, tag_end

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from fhir_bridge.audio.sniff import Sniffed

Order = Literal["little", "big"]

_BOXES: Final = 10_000  # chunks or boxes looked at before a file is taken as it says
_PLACEHOLDER: Final = 0x7FFF_0000  # recorders that cannot seek back write a length from here up, or none
_CHUNK_HEAD: Final = 8
_EXTENSIBLE: Final = 0xFFFE  # WAVEFORMATEXTENSIBLE, whose channel mask stands at byte 20
_MASK: Final = 20
_LONGEST: Final = 0xFFFF_FFFE
_OGG_PAGE: Final = 65_307  # the longest page (RFC 3533 section 6)
_OGG_LAST: Final = 4


@dataclass(frozen=True)
class Layout:
    """How a file lies on disk. `fixes` are bytes its header should have had, by their place."""

    sniffed: Sniffed
    fixes: dict[int, bytes] = field(default_factory=dict)
    truncated: bool = False
    index_first: bool = True
    frames: int | None = None


def layout_of(file: BinaryIO) -> Layout:
    """Sniff a file and look at the claims of its container.

    Raises:
        UnusableAudio: none of the containers served here.
    """
    sniffed = _sniffed(file)
    match sniffed.demuxer:
        case "wav":
            return _chunks(file, sniffed, b"data", "big" if _read(file, 0, 4) == b"RIFX" else "little")
        case "aiff":
            return _chunks(file, sniffed, b"SSND", "big")
        case "ogg":
            return Layout(sniffed, truncated=not _ends(file))
        case "mp3":
            return Layout(sniffed, frames=_xing_frames(file))
        case _ if sniffed.container == "mp4":
            return Layout(sniffed, index_first=_index_first(file))
    return Layout(sniffed)


class Patched:
    """A file with some bytes corrected as they are read. It has no name for ffmpeg to guess from."""

    def __init__(self, file: BinaryIO, fixes: dict[int, bytes]) -> None:
        self._file = file
        self._fixes = fixes
        file.seek(0)

    def read(self, size: int) -> bytes:
        """Read with the corrections in place."""
        start = self._file.tell()
        piece = self._file.read(size)
        for place, fix in self._fixes.items():
            low, high = max(place, start), min(place + len(fix), start + len(piece))
            if low < high:
                piece = piece[: low - start] + fix[low - place : high - place] + piece[high - start :]
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Tell the place of the next byte."""
        return self._file.tell()


def _sniffed(file: BinaryIO) -> Sniffed:
    head = _read(file, 0, HEAD)
    if (behind := tag_end(head)) >= HEAD:
        head = b"ID3\x04\x00\x00\x00\x00\x00\x00" + _read(file, behind, HEAD)
    return sniff(head)


def _chunks(file: BinaryIO, sniffed: Sniffed, wanted: bytes, order: Order) -> Layout:
    """Find the audio chunk of an IFF file and correct the length it claims.

    What channels are for is blotted out: speakers sit on channels here, not loudspeakers,
    and PyAV 18.1 frees a layout of its own making twice (an 8-channel AIFF ended the process).
    """
    fixes: dict[int, bytes] = {}
    truncated = False
    for name, start, claimed in _walk(file, order):
        if name == b"CHAN":
            fixes[start - _CHUNK_HEAD] = b"skip"
        elif name == b"fmt " and claimed >= _MASK + 4 and int.from_bytes(_read(file, start, 2), order) == _EXTENSIBLE:
            fixes[start + _MASK] = bytes(4)
        elif name == wanted and (length := _true_length(file, start, claimed, order)) is not None:
            fixes[start - 4] = length.to_bytes(4, order)
            truncated = length < claimed < _PLACEHOLDER
            break
    return Layout(sniffed, fixes, truncated)


def _walk(file: BinaryIO, order: Order) -> Iterator[tuple[bytes, int, int]]:
    """Give name, start and claimed length of each chunk."""
    at = 12
    for _ in range(_BOXES):
        head = _read(file, at, _CHUNK_HEAD)
        if len(head) < _CHUNK_HEAD:
            return
        claimed = int.from_bytes(head[4:], order)
        yield head[:4], at + _CHUNK_HEAD, claimed
        at += _CHUNK_HEAD + claimed + claimed % 2


def _true_length(file: BinaryIO, start: int, claimed: int, order: Order) -> int | None:
    """Give the length of the audio when the claim does not hold.

    A length that ends in the middle of the audio is one a recorder never finished
    writing; it is told from a true one by what follows: the end, or another chunk.
    """
    size = _size(file)
    rest = size - start
    if claimed == rest or (0 < claimed < rest and _chunk_follows(file, start + claimed, size, order)):
        return None
    return min(rest, _LONGEST)


def _chunk_follows(file: BinaryIO, at: int, size: int, order: Order) -> bool:
    """Tell whether a whole chunk, or nothing but padding, stands behind the audio."""
    at += at % 2
    head = _read(file, at, _CHUNK_HEAD)
    if len(head) < _CHUNK_HEAD:
        return True
    named = all(32 <= byte < 127 for byte in head[:4])  # noqa: PLR2004 - printable ASCII
    return named and at + _CHUNK_HEAD + int.from_bytes(head[4:], order) <= size


def _index_first(file: BinaryIO) -> bool:
    """Tell whether an MP4 can be read as it comes: `moov` before `mdat` (ISO/IEC 14496-12, 6.2.3)."""
    return next((kind == b"moov" for kind in _boxes(file) if kind in {b"moov", b"mdat"}), False)


def _boxes(file: BinaryIO) -> Iterator[bytes]:
    at = 0
    for _ in range(_BOXES):
        head = _read(file, at, 16)
        if len(head) < _CHUNK_HEAD:
            return
        yield head[4:8]
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:16], "big") if length == 1 else length
        if length < _CHUNK_HEAD:
            return
        at += length


def _ends(file: BinaryIO) -> bool:
    """Tell whether an Ogg file's last page says that it is the last."""
    tail = _read(file, max(0, _size(file) - _OGG_PAGE), _OGG_PAGE)
    last = tail.rfind(b"OggS")
    return last >= 0 and len(tail) > last + 5 and bool(tail[last + 5] & _OGG_LAST)


def _xing_frames(file: BinaryIO) -> int | None:
    """Give the number of frames that the Xing or Info tag of an MP3 claims."""
    head = _read(file, tag_end(_read(file, 0, TAG_HEAD)), 256)
    at = max(head.find(b"Xing"), head.find(b"Info"))
    if at < 0 or not head[at + 7 : at + 8] or not head[at + 7] & 1:
        return None
    return int.from_bytes(head[at + 8 : at + 12], "big")


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)
