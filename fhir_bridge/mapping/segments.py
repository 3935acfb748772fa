"""Segments as people and players read them: plain text, WebVTT, JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from fhir_bridge.mapping.words import clean, one_line, said

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fhir_bridge.corti.messages import Participant, Segment


def in_order(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Sort by start, then end: Corti sends diarised segments out of order (corti-api 3.4)."""
    return tuple(sorted(segments, key=lambda one: (one.start, one.end)))


def text_of(segments: Iterable[Segment], participants: Sequence[Participant] = ()) -> str:
    """Write one paragraph a turn with its speaker, or a segment where nobody told speakers apart."""
    worded = [(who, text) for one, who in _voiced(segments, participants) if (text := said(one.text))]
    if not any(who for who, _ in worded):
        return "".join(f"{text}\n" for _, text in worded)
    turns = groupby(worded, key=lambda turn: turn[0])
    paragraphs = ((who, " ".join(text for _, text in turn)) for who, turn in turns)
    return "".join(f"{who}: {text}\n" if who else f"{text}\n" for who, text in paragraphs)


def vtt_of(segments: Iterable[Segment], participants: Sequence[Participant] = ()) -> str:
    """Write WebVTT (https://www.w3.org/TR/webvtt1/): one cue a segment, with a voice where one is known."""
    worded = ((one, one_line(one.text), who) for one, who in _voiced(segments, participants))
    cues = (_cue(one, text, who) for one, text, who in worded if text)
    return "WEBVTT\n" + "".join(f"\n{cue}\n" for cue in cues)


def _cue(segment: Segment, text: str, who: str | None) -> str:
    voice = f"<v {who}>" if who else ""
    # Escaping `>` also keeps `-->` out of a cue, where it would be read as times.
    words = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{_clock(segment.start)} --> {_clock(max(segment.start, segment.end))}\n{voice}{words}"


def _clock(seconds: float) -> str:
    whole, milliseconds = divmod(round(max(0.0, seconds) * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}.{milliseconds:03}"


def json_of_segments(segments: Iterable[Segment], participants: Sequence[Participant] = ()) -> str:
    """Write all that is known of each segment; times are seconds of the recording."""
    return json.dumps([_object(one, participants) for one in in_order(segments)], ensure_ascii=False)


def _object(segment: Segment, participants: Sequence[Participant]) -> dict[str, str | int | float]:
    known = {
        "start": segment.start,
        "end": segment.end,
        "channel": segment.channel,
        "speaker": segment.speaker,
        "role": _role(segment, participants),
        "text": clean(segment.text),
    }
    return {name: value for name, value in known.items() if value is not None}


def _voiced(segments: Iterable[Segment], participants: Sequence[Participant]) -> tuple[tuple[Segment, str | None], ...]:
    """Put each segment beside its speaker.

    One number for all of a recording says that nobody was told apart, not that one person spoke.
    """
    ordered = in_order(segments)
    apart = len({one.speaker for one in ordered}) > 1
    return tuple((one, speaker_of(one if apart else replace(one, speaker=None), participants)) for one in ordered)


def speaker_of(segment: Segment, participants: Sequence[Participant] = ()) -> str | None:
    """Name who speaks: by role, else by channel when there are several, else by Corti's number."""
    role = _role(segment, participants)
    if role in {"doctor", "patient"}:
        return role.capitalize()
    if len(participants) > 1:
        return f"Channel {segment.channel + 1}"
    return None if segment.speaker is None else f"Speaker {segment.speaker + 1}"


def _role(segment: Segment, participants: Sequence[Participant]) -> str | None:
    return next((one.role for one in participants if one.channel == segment.channel), None)
