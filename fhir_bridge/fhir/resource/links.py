"""What a Reference may point at, and the rules on contained resources.

References need more than their own object: the targets the element allows, the
resources contained beside it, the entries of its Bundle.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.resource.shapes import resource_shape
from fhir_bridge.fhir.resource.tree import each, only, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fhir_bridge.fhir.resource.reader import Json, JsonValue

Fault = tuple[str, str]
"""Issue code and what is wrong."""

_RESTFUL = re.compile(
    r"(?P<base>https?://[^\s?#]+/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})(/_history/[A-Za-z0-9\-.]{1,64})?(#\S+)?"
)
_CONDITIONAL = re.compile(r"(?P<type>[A-Z][A-Za-z]+)\?\S+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


@dataclass(frozen=True)
class Neighbours:
    """The resource types a reference can find without leaving the body: by fragment and by fullUrl."""

    contained: Mapping[str, str]
    entries: Mapping[str, str]


def neighbours(resource: Json, entries: Mapping[str, str]) -> Neighbours:
    """Return what references inside `resource` can find; `entries` come from its Bundle."""
    contained = {f"#{text(inner, 'id')}": text(inner, "resourceType") or "" for inner in each(resource, "contained")}
    return Neighbours(contained | {"#": text(resource, "resourceType") or ""}, entries)


def entry_types(bundle: Json) -> dict[str, str]:
    """Return the resource type at each fullUrl of a Bundle."""
    types = {text(entry, "fullUrl"): text(only(entry, "resource"), "resourceType") for entry in each(bundle, "entry")}
    return {url: kind for url, kind in types.items() if url and kind}


def reference_fault(reference: Json, targets: frozenset[str], beside: Neighbours) -> Fault | None:
    """Return what is wrong with a Reference at an element that allows `targets` (none: any)."""
    link, said = text(reference, "reference"), text(reference, "type")
    if link is not None and link.startswith("#") and link not in beside.contained:
        return "invariant", "ref-1: names a contained resource that is not there"
    if link is not None and not _is_link(link):
        return "value", "must be Type/id, an absolute URL, urn:uuid:..., or #id of a contained resource"
    kind = _type_of(link, beside) if link else None
    if kind and said and "/" not in said and said != kind:
        return "value", f"names {kind} and says another type"
    kind = kind or said
    if targets and kind and resource_shape(kind) and kind not in targets:
        return "value", f"may name {', '.join(sorted(targets))}, not {kind}"
    return None


def contained_faults(resource: Json) -> Iterator[Fault]:
    """Yield the rules dom-2 to dom-5 that the contained resources break."""
    inner = each(resource, "contained")
    if any("contained" in one for one in inner):
        yield "invariant", "dom-2: a contained resource contains no others"
    if any(not _OWN_META.isdisjoint(only(one, "meta")) for one in inner):
        yield "invariant", "dom-4: a contained resource has no meta.versionId or meta.lastUpdated"
    if any("security" in only(one, "meta") for one in inner):
        yield "invariant", "dom-5: a contained resource has no meta.security"
    named = set(fragments(resource)) if inner else set()
    if not all(is_used(one, named) for one in inner):
        yield "invariant", "dom-3: each contained resource is referred to from the resource, or refers to it"


_OWN_META: Final = frozenset({"versionId", "_versionId", "lastUpdated", "_lastUpdated"})


def _is_link(link: str) -> bool:
    """Relative links must be RESTful: nothing else could ever be resolved. `#` was looked at before."""
    if link.startswith("#") or _SCHEME.fullmatch(link):
        return True
    match = _RESTFUL.fullmatch(link) or _CONDITIONAL.fullmatch(link)
    return match is not None and resource_shape(match["type"]) is not None


def _type_of(link: str, beside: Neighbours) -> str | None:
    known = beside.contained.get(link) or beside.entries.get(link)
    if known:
        return known
    match = _RESTFUL.fullmatch(link) or _CONDITIONAL.fullmatch(link)
    return match["type"] if match and resource_shape(match["type"]) else None


def is_used(inner: Json, named: set[str]) -> bool:
    """Tell whether a contained resource is among the `named` fragments, or refers to its container."""
    own = text(inner, "id")
    return (own is not None and f"#{own}" in named) or "#" in fragments(inner)


def fragments(value: JsonValue) -> Iterator[str]:
    """Yield every string in `value` that can be a link to something contained."""
    if isinstance(value, str):
        if value.startswith("#"):
            yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from fragments(inner)
