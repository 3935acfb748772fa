"""Every link in a resource: find References with their element path, rewrite links by a table.

http://hl7.org/fhir/R4/http.html#trules: in a transaction a link to an entry's fullUrl is
replaced in elements of type Reference, uri, url, oid and uuid and in the narrative's href
and src, also in contained resources and extensions; never in canonical. Conditional
references (`Patient?identifier=s|v`) are rewritten by the same table.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.resource.shapes import datatype, resource_shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.fhir.resource.shapes import Element, Shape

_LINKS: Final = frozenset({"uri", "url", "oid", "uuid"})
_NARRATIVE_LINK = re.compile(r"""(\s(?:href|src)\s*=\s*)("[^"]*"|'[^']*')""")


def references(json: Json) -> Iterator[tuple[str, Json]]:
    """Yield (element path, Reference) for every Reference in the resource, contained ones too.

    An unknown resourceType or element, which `checked` refuses, holds none.
    """
    kind = resource_shape(json.get("resourceType"))
    if kind is not None:
        yield from _references(json, kind, kind.name)


def rewrite(json: Json, mapping: Mapping[str, str]) -> Json:
    """Return a copy in which each link that `mapping` knows is replaced; the rest is shared, not copied.

    A versioned link (`fullUrl/_history/2`) stays versioned, a fragment stays where it is.
    """
    kind = resource_shape(json.get("resourceType"))
    return json if kind is None or not mapping else _Rewriter(mapping).members(json, kind)


def _references(json: Json, kind: Shape, path: str) -> Iterator[tuple[str, Json]]:
    if kind.name == "Reference":
        yield path, json
    for name, value in json.items():
        found = _member(kind, name)
        if found is None:
            continue
        element, inner = found
        at = f"{path}.{element.path}"
        items = value if isinstance(value, list) else [value]
        for index, item in enumerate(items):
            of = _shape_of(item, inner)
            if isinstance(item, dict) and of is not None:
                yield from _references(item, of, f"{at}[{index}]" if isinstance(value, list) else at)


def _member(kind: Shape, name: str) -> tuple[Element, str] | None:
    """Return an element and the type of what stands under `name`: `_birthDate` has id and extension only."""
    element = kind.elements.get(name)
    if element is not None:
        return element, element.type
    element = kind.elements.get(name[1:]) if name.startswith("_") else None
    return (element, "Element") if element is not None and element.primitive else None


def _shape_of(item: JsonValue, kind: str) -> Shape | None:
    if not isinstance(item, dict) or kind[:1].islower():
        return None
    return resource_shape(item.get("resourceType")) if kind == "Resource" else datatype(kind)


class _Rewriter:
    def __init__(self, mapping: Mapping[str, str]) -> None:
        self.mapping = mapping

    def members(self, json: Json, kind: Shape) -> Json:
        return {name: self.value(name, value, kind) for name, value in json.items()}

    def value(self, name: str, value: JsonValue, kind: Shape) -> JsonValue:
        found = _member(kind, name)
        if found is None:
            return value
        inner = "link" if kind.name == "Reference" and name == "reference" else found[1]
        if isinstance(value, list):
            return [self.item(item, inner) for item in value]
        return self.item(value, inner)

    def item(self, item: JsonValue, kind: str) -> JsonValue:
        if isinstance(item, str):
            return self.text(item, kind)
        of = _shape_of(item, kind)
        return self.members(item, of) if isinstance(item, dict) and of is not None else item

    def text(self, text: str, kind: str) -> str:
        if kind == "xhtml":
            return _NARRATIVE_LINK.sub(self.attribute, text)
        return self.link(text) if kind == "link" or kind in _LINKS else text

    def link(self, link: str) -> str:
        known = self.mapping.get(link)
        if known is not None:
            return known
        bare, mark, fragment = link.partition("#")
        target, history, version = bare.partition("/_history/")
        known = self.mapping.get(target)
        return link if known is None else f"{known}{history}{version}{mark}{fragment}"

    def attribute(self, match: re.Match[str]) -> str:
        old = unescape(match[2][1:-1])
        new = self.link(old)
        return match[0] if new == old else f'{match[1]}"{escape(new)}"'
