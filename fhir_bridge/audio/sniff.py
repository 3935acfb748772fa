"""Tells what a file is by its first bytes alone, before anything else looks at it.

Only what is named here ever reaches ffmpeg, which takes far more than audio: given the
chance it reads an SDP text or a playlist as an order to open network connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fhir_bridge.errors import UnusableAudio

Container = Literal["wav", "aiff", "mp3", "flac", "ogg", "webm", "mp4", "aac"]

HEAD: Final = 4096  # bytes that are enough to tell, but for what an ID3 tag hides
TAG_HEAD: Final = 10


@dataclass(frozen=True)
class Sniffed:
    """A container, the MIME type a resource should name, and the one demuxer that may read it."""

    container: Container
    mime: str
    demuxer: str


_WAV: Final = Sniffed("wav", "audio/wav", "wav")
_WAVE64: Final = Sniffed("wav", "audio/wav", "w64")
_AIFF: Final = Sniffed("aiff", "audio/aiff", "aiff")
_MP3: Final = Sniffed("mp3", "audio/mpeg", "mp3")
_FLAC: Final = Sniffed("flac", "audio/flac", "flac")
_OGG: Final = Sniffed("ogg", "audio/ogg", "ogg")
_WEBM: Final = Sniffed("webm", "audio/webm", "matroska,webm")
_MATROSKA: Final = Sniffed("webm", "audio/x-matroska", "matroska,webm")
_MP4: Final = Sniffed("mp4", "audio/mp4", "mov,mp4,m4a,3gp,3g2,mj2")
_AAC: Final = Sniffed("aac", "audio/aac", "aac")

_WAVE64_START: Final = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_EBML: Final = b"\x1aE\xdf\xa3"
_DOCTYPE_WITHIN: Final = 64

# Names in use for each container, beside the one above. A declared type without
# knowledge (octet-stream) agrees with all.
_NAMES: Final[dict[Container, frozenset[str]]] = {
    "wav": frozenset({"wav", "x-wav", "wave", "x-pn-wav", "vnd.wave", "vnd.wav"}),
    "aiff": frozenset({"aiff", "x-aiff", "aifc", "x-aifc"}),
    "mp3": frozenset({"mpeg", "mp3", "mpeg3", "x-mpeg-3", "x-mpeg", "x-mp3", "mpa"}),
    "flac": frozenset({"flac", "x-flac"}),
    "ogg": frozenset({"ogg", "opus", "vorbis", "x-ogg"}),
    "webm": frozenset({"webm", "x-matroska", "matroska"}),
    "mp4": frozenset({"mp4", "m4a", "x-m4a", "mp4a-latm", "aac", "3gpp", "3gpp2", "quicktime"}),
    "aac": frozenset({"aac", "x-aac", "aacp", "x-hx-aac-adts", "adts", "vnd.dlna.adts"}),
}
_ANY: Final = frozenset({"application/octet-stream", "binary/octet-stream"})


def sniff(head: bytes) -> Sniffed:
    """Name the container that starts with `head` (`HEAD` bytes, or the whole of a shorter file).

    An ID3 tag longer than `head` is taken for MP3's, where such tags belong; `sound`
    looks behind it.

    Raises:
        UnusableAudio: none of the containers served here.
    """
    if not head:
        raise UnusableAudio("The audio is empty; send the recording")
    behind = tag_end(head)
    found = _frames(head[behind:]) if behind < len(head) else _MP3
    if (found := _magic(head) or found) is None:
        raise UnusableAudio(
            "This is no audio format read here; send WAV, AIFF, MP3, FLAC, Ogg, WebM, MP4/M4A or AAC (ADTS)"
        )
    return found


def agrees(sniffed: Sniffed, declared: str | None) -> bool:
    """Tell whether a declared MIME type can mean what was found; parameters do not count."""
    essence = (declared or "").partition(";")[0].strip().lower()
    kind, _, name = essence.partition("/")
    return not essence or essence in _ANY or (kind in {"audio", "video", "application"} and _named(sniffed, name))


def tag_end(head: bytes) -> int:
    """Tell where the audio behind a leading ID3v2 tag starts (https://id3.org/id3v2.4.0-structure 3.1)."""
    if head[:3] != b"ID3" or len(head) < TAG_HEAD or any(byte & 0x80 for byte in head[6:10]):
        return 0
    footer = TAG_HEAD if head[5] & 0x10 else 0
    return TAG_HEAD + footer + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def _named(sniffed: Sniffed, name: str) -> bool:
    return name in _NAMES[sniffed.container]


def _magic(head: bytes) -> Sniffed | None:
    if head[:4] in {b"RIFF", b"RIFX", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return _WAV
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return _AIFF
    if head[:4] == _EBML:
        return _WEBM if b"webm" in head[:_DOCTYPE_WITHIN] else _MATROSKA
    if head[4:8] == b"ftyp":
        return _MP4
    starts = {b"fLaC": _FLAC, b"OggS": _OGG, _WAVE64_START: _WAVE64}
    return next((found for start, found in starts.items() if head.startswith(start)), None)


def _frames(head: bytes) -> Sniffed | None:
    """Recognise what has no magic bytes, only frames: a second one must follow the first."""
    if head[:4] == b"fLaC":
        return _FLAC
    for length_of, found in ((_mpeg_frame, _MP3), (_adts_frame, _AAC)):
        length = length_of(head)
        if length and (length + 7 > len(head) or length_of(head[length:])):
            return found
    return None


_MPEG1_KBITS: Final = {
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_MPEG2_KBITS: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG_RATES: Final = (44100, 48000, 32000)


def _mpeg_frame(head: bytes) -> int:
    """Give the length of the MPEG audio frame (layer II or III) at the start, or 0.

    Layer I and free bit rates are left out: nobody records in them, and UTF-16 text
    starts like layer I.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:  # noqa: PLR2004 - the header's length and sync
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer not in _MPEG1_KBITS or bits in {0, 15} or rate == len(_MPEG_RATES):
        return 0
    lowest = version != 3  # noqa: PLR2004 - 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5
    kbits = (_MPEG2_KBITS if lowest else _MPEG1_KBITS[layer])[bits]
    hertz = _MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 576 if lowest and layer == 3 else 1152  # noqa: PLR2004 - layer III halves its frames below MPEG 1
    return samples // 8 * kbits * 1000 // hertz + (head[2] >> 1 & 1)


def _adts_frame(head: bytes) -> int:
    """Give the length of the ADTS frame at the start, or 0 (ISO/IEC 13818-7, 6.2)."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:  # noqa: PLR2004 - layout
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else 0  # noqa: PLR2004 - a frame is longer than its header
