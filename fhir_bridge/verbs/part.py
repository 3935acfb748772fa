"""Parts of resources: what _summary and _elements leave of them (http://hl7.org/fhir/R4/search.html#summary)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.resource.subset import elements, summary
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest.search import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fhir_bridge.fhir.rest.criteria import SearchRequest
    from fhir_bridge.store.resources import Row

_NAMES: Final = ("_summary", "_elements")


def shown_as(request: SearchRequest) -> Callable[[str], str]:
    """Return what is left of a body: when no part is asked for, all of it and unread."""
    mode = request.summary
    if mode == "true" or mode == "text" or mode == "data":  # noqa: PLR1714 - a tuple would not narrow the type
        return lambda body: write(summary(read(body), mode))
    if request.elements:
        return lambda body: write(elements(read(body), request.elements))
    return lambda body: body


def part_of(row: Row, pairs: Iterable[tuple[str, str]]) -> Row:
    """Return the part of a resource that a read asks for (http.html#read)."""
    asked = _asked(pairs)
    return replace(row, body=shown_as(asked)(row.body)) if asked.used else row


def leaves(name: str, pairs: Iterable[tuple[str, str]]) -> bool:
    """Tell whether the part that a read asks for has an element that no summary has, such as Binary.data."""
    asked = _asked(pairs)
    return asked.summary not in {"true", "text"} and (not asked.elements or name in asked.elements)


def _asked(pairs: Iterable[tuple[str, str]]) -> SearchRequest:
    return parse(None, [pair for pair in pairs if pair[0] in _NAMES], strict=True)
