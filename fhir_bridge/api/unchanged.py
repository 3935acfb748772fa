"""Answers that a client may have already: searches, histories and $everything with an ETag over what they tell."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from flask import Response, request

from fhir_bridge.api import respond
from fhir_bridge.store.versions import now_ms
from fhir_bridge.verbs.paging import LINK_MS

# Page links are sealed anew each time: they differ though nothing else does.
_LINK: Final = re.compile(r'"url":"[^"]*?(?:/_page/|\?_page=)[^"]*"')
_ENTRIES: Final = ',"entry":['


def bundle(text: str) -> Response:
    """Answer with a Bundle, or with 304 when it tells what the client has (http.html#cread)."""
    if request.method not in {"GET", "HEAD"}:
        return respond.body(text)
    digest = _digest(text)
    headers = {"ETag": f'W/"{digest}"'}
    if request.if_none_match.contains_weak(digest):
        return Response(status=304, headers=headers)
    return respond.body(text, headers=headers)


def _digest(text: str) -> str:
    """Digest what a Bundle tells; the page links of a copy that still counts as good have half their life left."""
    head, mark, entries = text.partition(_ENTRIES)
    bare, count = _LINK.subn("", head)
    age = str(now_ms() * 2 // LINK_MS) if count else ""
    return sha256(f"{age}{bare}{mark}{entries}".encode()).hexdigest()[:32]
