"""Reads what Corti says, leniently: unknown members are ignored, missing ones have a meaning, hostile ones do no harm.

The rules are those of corti-api 6; Corti asks its clients not to check answers strictly
(corti-api 0). Only an answer without the id it exists for is refused.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Final, NoReturn

from fhir_bridge.corti.messages import (
    AudioEvent,
    ConfigAccepted,
    ConfigNack,
    Ended,
    Evidence,
    Fact,
    Facts,
    Flushed,
    Json,
    Message,
    Segment,
    StreamError,
    Transcript,
    Unknown,
    Usage,
)
from fhir_bridge.errors import CortiNonsense

if TYPE_CHECKING:
    from collections.abc import Callable

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")  # becomes part of a URL
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL takes no NUL, UTF-8 no lone surrogate
_MAX_KIND: Final = 64


# --- JSON, member by member -----------------------------------------------------------------


def json_of(text: str | bytes) -> object:
    """Read JSON.

    Raises:
        CortiNonsense: it is none, or holds NaN, an infinity or more depth than can be read.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as exc:
        raise CortiNonsense("Corti's answer is not JSON") from exc


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def object_of(value: object) -> Json:
    """Return a JSON object; anything else counts as an empty one."""
    return value if isinstance(value, dict) else {}


def objects_of(value: object) -> list[Json]:
    """Return the objects of a list; one object alone counts as a list of one, null as none."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def text_of(*values: object) -> str:
    """Return the first text among `values`, fit to be stored, or an empty one."""
    found = next((value for value in values if isinstance(value, str) and value), "")
    return _UNSTORABLE.sub("\ufffd", found)


def number_of(*values: object) -> float | None:
    """Return the first finite number among `values`."""
    for value in values:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


def whole_of(value: object) -> int | None:
    """Return a whole number from zero up; -1 is Corti's word for none."""
    number = number_of(value)
    return int(number) if number is not None and number >= 0 else None


def first_of(holder: Json, *names: str) -> object:
    """Return the first member of these names that is not null."""
    return next((holder[name] for name in names if holder.get(name) is not None), None)


def id_of(holder: Json, *names: str) -> str:
    """Return an id that may safely become part of a URL.

    Raises:
        CortiNonsense: there is none.
    """
    found = text_of(*(holder.get(name) for name in names))
    if not _ID.fullmatch(found):
        raise CortiNonsense("Corti's answer lacks the id it should carry")
    return found


# --- stream messages ---------------------------------------------------------------------------


def message(frame: str | bytes) -> Message:
    """Read one frame of a stream. Whatever it holds, the answer is a message, never an error."""
    try:
        body = object_of(json_of(frame))
    except CortiNonsense:
        return Unknown("not JSON")
    kind = text_of(body.get("type"))[:_MAX_KIND]
    folded = kind.casefold()
    if folded.startswith("config_") and folded not in _KINDS:
        return ConfigNack(kind.upper(), text_of(body.get("reason"), body.get("detail"), body.get("message")))
    read = _KINDS.get(folded)
    return read(body) if read else Unknown(kind or "no type")


def _transcript(body: Json) -> Message:
    return Transcript(segments(body.get("data")))


def segments(items: object) -> tuple[Segment, ...]:
    """Read segments; one without words says nothing."""
    return tuple(_segment(item) for item in objects_of(items) if text_of(item.get("transcript"), item.get("text")))


def _segment(item: Json) -> Segment:
    """Read a segment of any source; its `id` is the interaction's and tells nothing (corti-api 7.3)."""
    time = object_of(item.get("time"))
    start = max(0.0, number_of(time.get("start"), item.get("start")) or 0.0)
    end = max(start, number_of(time.get("end"), item.get("end")) or 0.0)
    channel = whole_of(object_of(item.get("participant")).get("channel"))
    return Segment(
        text=text_of(item.get("transcript"), item.get("text")),
        start=start,
        end=end,
        speaker=whole_of(item.get("speakerId")),
        channel=channel if channel is not None else whole_of(item.get("channel")) or 0,
        final=first_of(item, "final", "isFinal") is not False,
    )


def facts(items: object) -> tuple[Fact, ...]:
    """Read facts; one that has no id cannot be told from others and is left to the reconciliation."""
    return tuple(_fact(item) for item in objects_of(items) if text_of(item.get("id"), item.get("factId")))


def _fact(item: Json) -> Fact:
    return Fact(
        id=text_of(item.get("id"), item.get("factId")),
        text=text_of(item.get("text"), item.get("value")),
        group=text_of(item.get("group")) or "other",
        group_id=text_of(item.get("groupId")) or None,
        discarded=item.get("isDiscarded") is True,
        source=text_of(item.get("source")) or "core",
        created_at=text_of(item.get("createdAt")) or None,
        updated_at=text_of(item.get("updatedAt")) or None,
        evidence=tuple(
            Evidence(text_of(one.get("type")), text_of(one.get("reference")), text_of(one.get("quote")))
            for one in objects_of(item.get("evidence"))
        ),
    )


def _facts(body: Json) -> Message:
    return Facts(facts(first_of(body, "fact", "facts", "data")))


def _audio_event(body: Json) -> Message:
    event = object_of(body.get("data"))
    return AudioEvent(
        event=text_of(event.get("event"))[:_MAX_KIND],
        channel=whole_of(event.get("channel")) or 0,
        start=(number_of(event.get("startTimeMs")) or 0.0) / 1000,
    )


def _error(body: Json) -> Message:
    """Read an error in its new, old or observed partial form (corti-api 1.4, 3.4)."""
    inner = body.get("error")
    error = object_of(inner) or body
    return StreamError(
        request=text_of(error.get("requestid"), error.get("requestId")) or None,
        code=text_of(error.get("id"), error.get("code")) or None,
        status=whole_of(error.get("status")),
        title=text_of(error.get("title")),
        detail=text_of(error.get("details"), error.get("detail"), error.get("message"), inner),
    )


_KINDS: Final[dict[str, Callable[[Json], Message]]] = {
    "config_accepted": lambda _: ConfigAccepted(),
    "config_already_received": lambda _: ConfigAccepted(),  # the session goes on (corti-api 3.2)
    "transcript": _transcript,
    "facts": _facts,
    "flushed": lambda _: Flushed(),
    "usage": lambda body: Usage(number_of(body.get("credits")) or 0.0),
    "delta_usage": lambda body: Usage(number_of(body.get("credits")) or 0.0, final=False),
    "audioevent": _audio_event,
    "ended": lambda _: Ended(),
    "error": _error,
}
