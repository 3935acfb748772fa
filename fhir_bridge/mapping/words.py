"""Text as both sides can take it: forbidden characters, blank values, codes."""

from __future__ import annotations

import re
from typing import Final

# FHIR strings hold no control characters but tab, CR and LF (datatypes.html#string);
# lone surrogates cannot be written as UTF-8 at all.
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """Leave out the characters a FHIR string cannot hold."""
    return _FORBIDDEN.sub("", text)


def said(text: str | None) -> str | None:
    """Return the trimmed text, or None when it says nothing."""
    return clean(text or "").strip() or None


def one_line(text: str) -> str:
    """Fold every run of white space into one blank."""
    return " ".join(clean(text).split())


def code_of(text: str | None) -> str | None:
    """Return text in the form of a FHIR code (no outer or double blanks), or None when nothing is left."""
    return one_line(text or "") or None
