"""Cuts audio out of a JSON body while it arrives, so that it never meets a JSON or FHIR model.

A one-hour recording in `Media.content.data` is 150 MB of base64. The cutter copies the
JSON around such strings, decodes each of them piece by piece into a sink, and leaves a
mark in its place; the strict reader then sees a small document (architecture.md,
decision 2). Structure is followed only as far as finding the strings needs it: whether
the rest is JSON at all is for the reader to say.
"""

from __future__ import annotations

import binascii
import json
import re
from typing import TYPE_CHECKING, Final

import pybase64

from fhir_bridge.errors import Invalid, Issue, Malformed, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

    Path = tuple[str | int, ...]
    Write = Callable[[bytes], object]

MARK: Final = "cut:"
_TOKEN: Final = re.compile(rb'["{}\[\]:,]')
_STOP: Final = re.compile(rb'["\\]')
_WHITE: Final = b" \t\r\n"
_LONGEST_ESCAPE: Final = 6  # \u002B


def is_audio(path: Path) -> bool:
    """Tell whether a string at `path` is Media.content.data or Binary.data, alone or in a Bundle."""
    inner = path[3:] if len(path) > 3 and path[0] == "entry" and path[2] == "resource" else path  # noqa: PLR2004 - entry, index, resource
    return inner in {("data",), ("content", "data")}


def is_document(path: Path) -> bool:
    """Tell whether a string at `path` is DocumentReference.content.attachment.data, alone or in a Bundle."""
    match path:
        case ("content", int(), "attachment", "data") | (
            "entry",
            int(),
            "resource",
            "content",
            int(),
            "attachment",
            "data",
        ):
            return True
    return False


def expression_of(path: Path) -> str:
    """Write a path as an element path without its root type, such as entry[1].resource.content.data."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


class Cutter:
    """Feed it the body; it calls `sink(path)` for each audio string and writes decoded bytes there."""

    def __init__(self, sink: Callable[[Path], Write], *, limit: int, documents: int, root: str) -> None:
        """Take what makes a sink for a path, the most bytes the JSON may have besides, and the type it should be.

        `documents` is how many bytes all inline documents may have; they stay where they are,
        and do not count for `limit` (ruling 19).
        """
        self._sink = sink
        self._root = root
        self._limit = limit
        self._documents = documents
        self._spared = 0  # characters of documents in what is kept
        self._is_document = False
        self._kept = bytearray()
        self._waiting = b""
        self._path: list[str | int] = []  # one step for each open container
        self._is_key = False
        self._in_string = False
        self._audio: Base64Stream | None = None
        self._cuts = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            Invalid: a cut string is not base64.
            TooLarge: more than `limit` bytes besides the audio.
        """
        rest = self._waiting + chunk
        self._waiting = b""
        while rest:
            before = len(rest)
            rest = self._audio_part(rest) if self._audio else self._text_part(rest)
            if len(rest) == before:
                self._waiting = rest
                return

    def close(self) -> bytes:
        """Return the JSON with a mark in the place of each audio string."""
        if self._audio is not None:
            raise Malformed("The body ends inside a string", at=self._audio.at)
        self._keep(self._waiting)
        return bytes(self._kept)

    def _keep(self, text: bytes) -> None:
        self._kept += text
        self._spared += len(text) if self._is_document else 0
        if self._spared * 3 > (self._documents + 2) * 4:  # three bytes are four characters
            text_ = (
                f"Inline documents of more than {self._documents} bytes: upload them as Binary, and name those in url"
            )
            raise TooLarge(text_, at=f"{self._root}.{expression_of(tuple(self._path))}")
        if len(self._kept) - self._spared > self._limit:
            raise TooLarge(f"The JSON without audio and documents is larger than {self._limit} bytes")

    def _text_part(self, rest: bytes) -> bytes:
        if self._in_string:
            return self._string_part(rest)
        found = _TOKEN.search(rest)
        if found is None:
            self._keep(rest)
            return b""
        self._keep(rest[: found.end()])
        self._meet(found.group())
        return rest[found.end() :]

    def _meet(self, token: bytes) -> None:
        if token == b'"':
            self._begin_string()
        elif token == b"{":
            self._path.append("")
            self._is_key = True
        elif token == b"[":
            self._path.append(0)
            self._is_key = False
        elif token == b":":
            self._is_key = False
        elif token == b",":
            self._next_member()
        elif self._path:
            self._path.pop()

    def _next_member(self) -> None:
        if not self._path:
            return
        step = self._path[-1]
        self._is_key = isinstance(step, str)
        if isinstance(step, int):
            self._path[-1] = step + 1

    def _begin_string(self) -> None:
        path = tuple(self._path)
        if self._is_key or not is_audio(path):
            self._in_string = True
            self._is_document = not self._is_key and is_document(path)
            self._string_start = len(self._kept)
            return
        self._audio = Base64Stream(self._sink(path), at=f"{self._root}.{expression_of(path)}")

    def _string_part(self, rest: bytes) -> bytes:
        found = _STOP.search(rest)
        if found is None:
            self._keep(rest)
            return b""
        if found.group() == b'"':
            self._keep(rest[: found.start()])
            self._end_string()
            self._keep(b'"')
            return rest[found.end() :]
        if len(rest) == found.end():  # the escaped character is still to come
            self._keep(rest[: found.start()])
            return rest[found.start() :]
        self._keep(rest[: found.end() + 1])
        return rest[found.end() + 1 :]

    def _end_string(self) -> None:
        self._in_string = self._is_document = False
        if self._is_key:
            self._path[-1] = _unescaped(bytes(self._kept[self._string_start :]))

    def _audio_part(self, rest: bytes) -> bytes:
        assert self._audio is not None  # noqa: S101 - feed asked
        end = rest.find(b'"')
        if end < 0:
            return self._audio.feed(rest)
        self._audio.close(rest[:end])
        self._audio = None
        self._keep(f'{MARK}{self._cuts}"'.encode())
        self._cuts += 1
        return rest[end + 1 :]


class Base64Stream:
    """Decodes base64 that arrives in pieces, strictly (FHIR R4 datatypes, base64Binary).

    White space between characters is allowed, JSON escapes are undone (some writers
    escape `/` and `+`), padding may stand only at the end.
    """

    def __init__(self, write: Write, *, at: str) -> None:
        self.at = at
        self._write = write
        self._quad = b""
        self._ended = False
        self._empty = True

    def feed(self, text: bytes) -> bytes:
        """Decode `text`; return what has to be given again with more behind it."""
        left = b""
        if b"\\" in text:
            text, left = _whole_escapes(text)
        self._take(text)
        return left

    def _take(self, text: bytes) -> None:
        if b"\\" in text:
            text = _unescaped(text).encode("utf-8", "replace")
        text = self._quad + text.translate(None, _WHITE)
        usable = len(text) - len(text) % 4
        self._decode(text[:usable])
        self._quad = text[usable:]

    def close(self, text: bytes) -> None:
        """Decode the last `text` of the string."""
        self._take(text)
        if self._quad:
            raise self._broken()
        if self._empty:
            raise Malformed("An empty string is not allowed in FHIR", at=self.at)

    def _decode(self, text: bytes) -> None:
        if not text:
            return
        if self._ended:
            raise self._broken()
        self._empty = False
        self._ended = text.endswith(b"=")
        try:
            self._write(pybase64.b64decode(text, validate=True))
        except binascii.Error as exc:
            raise self._broken() from exc

    def _broken(self) -> Invalid:
        text = "This is not base64: send the bytes of the recording, base64 encoded and padded"
        return Invalid(text, issues=(Issue("value", text, self.at),))


def _whole_escapes(text: bytes) -> tuple[bytes, bytes]:
    """Split off an escape at the end that may be incomplete."""
    last = text.rfind(b"\\", max(0, len(text) - _LONGEST_ESCAPE + 1))
    return (text, b"") if last < 0 else (text[:last], text[last:])


def _unescaped(text: bytes) -> str:
    try:
        return str(json.loads(b'"' + text + b'"', strict=False))
    except ValueError:
        return text.decode("utf-8", "replace")
