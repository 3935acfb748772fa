"""A consultation to try the bridge with: written for it, spoken by free voices (make.sh), heard by the sandbox."""

from __future__ import annotations

from pathlib import Path

MIME = "audio/ogg"


def path() -> Path:
    """The spoken consultation, about 80 seconds, one channel."""
    return Path(__file__).with_name("consultation.ogg")


def text() -> str:
    """What is said in it, one `speaker: words` a line."""
    return Path(__file__).with_name("consultation.txt").read_text(encoding="utf-8")
