"""$export: all that a Grant may search and read, or what of it is about patients, as files of one resource a line.

http://hl7.org/fhir/uv/bulkdata/export.html; all of one snapshot, read page by page.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from fhir_bridge.errors import BadParameter, Forbidden, Gone, NotSupported
from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.search import parse
from fhir_bridge.fhir.rest.served import BY_TYPE, PATIENT_COMPARTMENT
from fhir_bridge.store import resources
from fhir_bridge.store.filter import And, Chain, Filter, Or, Present, Stamped
from fhir_bridge.verbs.compartment import MEMBERS
from fhir_bridge.verbs.intake import tenant_key
from fhir_bridge.verbs.policy import allowed, conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.fhir.rest.inputs import Inputs
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.filter import Node
    from fhir_bridge.store.resources import Cursor, Page, Row
    from fhir_bridge.verbs.bridge import Bridge

NDJSON: Final = "application/fhir+ndjson"
_FORMATS: Final = frozenset({NDJSON, "application/ndjson", "ndjson"})
_PAGE: Final = 500
# Content apart from its resource, and what is no resource of the store, have ways of their own.
_WHOLE: Final = tuple(name for name, row in BY_TYPE.items() if "search-type" in row.interactions and not row.apart)
_BETWEEN: Final = re.compile(r",(?=[A-Z][A-Za-z]*\?)")  # of two filters; within one a comma means or


@dataclass(frozen=True)
class Wish:
    """What is to be exported: of which types, by which filters of each, since when."""

    types: tuple[str, ...]
    filters: tuple[tuple[str, str], ...]
    since_ms: int | None
    of_patients: bool


@dataclass(frozen=True)
class Exported:
    """The files of an export as the store keeps them, and the moment it shows."""

    files: list[Json]
    at: str


def wish_of(bridge: Bridge, grant: Grant, path: str, inputs: Inputs) -> Wish:
    """Read what is wanted of the system (no path) or of patients.

    Raises:
        BadParameter, NotSupported: what cannot be exported so. Forbidden: a type that may not be.
    """
    if (inputs.one("_outputFormat") or NDJSON).replace(" ", "+") not in _FORMATS:
        raise NotSupported(f"_outputFormat is {NDJSON} here")
    since = inputs.one("_since")
    moments = encode.moments(since.replace(" ", "+")) if since else None
    if since and moments is None:
        raise BadParameter("_since is an instant, such as 2026-11-22T08:15:00Z")
    filters = tuple(_filter(bridge, one) for text in inputs.all("_typeFilter") for one in _BETWEEN.split(text))
    types = _types(grant, path, inputs)
    if not {type_ for type_, _ in filters} <= set(types):
        raise BadParameter("_typeFilter is about a type that is not exported: name it in _type too")
    return Wish(types, filters, int(moments.start.timestamp() * 1000) if moments else None, bool(path))


def export(bridge: Bridge, grant: Grant, wish: Wish, *, tell: Callable[[str], None]) -> Exported:
    """Write the files; `tell` hears how far it is, and may raise against it: then nothing is left.

    Raises:
        Gone: it took longer than a snapshot can be searched.
    """
    bridge.store.barrier(grant.tenant)
    now = bridge.store.read(lambda conn: resources.snapshot(conn, grant.tenant))
    key = tenant_key(bridge, grant.tenant)
    files: list[Json] = []
    with ExitStack() as unkept:
        for type_ in wish.types:
            with bridge.blobs.create(key) as writer:
                count = 0
                for rows in _pages(bridge, _filter_of(bridge, grant, type_, wish), now.seq):
                    writer.write("".join(f"{row.body}\n" for row in rows).encode())
                    count += len(rows)
                    tell(f"{type_}: {count}")
                if not count:
                    continue
                blob = writer.commit()
            unkept.callback(bridge.blobs.delete, blob.id)
            files.append({"type": type_, "count": count, "blob": blob.id, "size": blob.size, "key": blob.wrapped_key})
        unkept.pop_all()
    return Exported(files, now.at)


def _pages(bridge: Bridge, filter_: Filter, snapshot: int) -> Iterator[tuple[Row, ...]]:
    """Read what a filter lets through, a page at a time, as long as its snapshot can be searched."""
    after: Cursor | None = None
    more = True
    while more:
        page = bridge.store.read(partial(_page, filter_=filter_, snapshot=snapshot, after=after))
        yield page.rows
        after, more = page.following, page.following is not None


def _page(conn: Connection, filter_: Filter, snapshot: int, after: Cursor | None) -> Page:
    if resources.snapshot(conn, filter_.tenant).keys_from > snapshot:
        raise Gone("The export took longer than what it shows is kept: ask for less, by _type or _since")
    return resources.search(conn, filter_, snapshot=snapshot, after=after, count=_PAGE)


def _filter_of(bridge: Bridge, grant: Grant, type_: str, wish: Wish) -> Filter:
    """Return what of a type is exported: what may be searched as well as read."""
    nodes: list[Node] = [allowed(grant, (type_,), "s").where]
    if wish.since_ms is not None:
        nodes.append(Stamped(low_ms=wish.since_ms + 1))
    if wish.of_patients:
        nodes.append(_of_patients(type_))
    mine = [query for name, query in wish.filters if name == type_]
    if mine:
        nodes.append(Or(tuple(And(_nodes(bridge, grant, type_, query)) for query in mine)))
    return allowed(grant, (type_,), "r").narrowed(*nodes)


def _of_patients(type_: str) -> Node:
    """What is in any patient's compartment, and the Provenance of that."""
    inside = Present(PATIENT_COMPARTMENT)
    target = BY_TYPE["Provenance"].param("target")
    if type_ != "Provenance" or target is None:
        return inside
    return Or((inside, Chain(target.number, tuple(name for name in MEMBERS["Patient"] if name != type_), inside)))


def _nodes(bridge: Bridge, grant: Grant, type_: str, query: str) -> tuple[Node, ...]:
    pairs = parse_qsl(query, keep_blank_values=True)
    return conditions(grant, parse(type_, pairs, strict=True, base=bridge.base))


def _filter(bridge: Bridge, text: str) -> tuple[str, str]:
    """Read one filter: a search that finds, and does nothing else."""
    type_, _, query = text.partition("?")
    if type_ not in _WHOLE:
        raise BadParameter("_typeFilter is a search of an exported type, such as Observation?status=final")
    request = parse(type_, parse_qsl(query, keep_blank_values=True), strict=True, base=bridge.base)
    if len(request.used) != len(request.criteria) or not request.criteria:
        raise BadParameter("_typeFilter finds resources: it takes no options such as _count or _include")
    return type_, query


def _types(grant: Grant, path: str, inputs: Inputs) -> tuple[str, ...]:
    known = tuple(name for name in MEMBERS["Patient"] if name in _WHOLE) if path else _WHOLE
    asked = tuple(dict.fromkeys(part for text in inputs.all("_type") for part in text.split(",")))
    if not set(asked) <= set(known):
        raise BadParameter(f"_type names a type that is not exported here; these are: {', '.join(known)}")
    may = tuple(name for name in asked or known if grant.scopes_for(name, "r") and grant.scopes_for(name, "s"))
    if not may or (asked and may != asked):
        raise Forbidden("The token does not allow this export", scope=f"system/{asked[0] if asked else '*'}.rs")
    return may
