"""vread and history: what was there before (http://hl7.org/fhir/R4/http.html#history)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlencode

from fhir_bridge.errors import BadParameter, Gone, NotFound
from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.bundle import Past
from fhir_bridge.fhir.rest.bundle import history as bundle
from fhir_bridge.fhir.rest.served import BY_TYPE
from fhir_bridge.store import resources
from fhir_bridge.store.filter import ALL, Ids, OfType
from fhir_bridge.verbs.paging import Place, links
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import find

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.filter import Filter
    from fhir_bridge.store.resources import Page, Row
    from fhir_bridge.verbs.bridge import Bridge

_PARAMETERS: Final = ("_since", "_at", "_count")
_METHODS: Final[dict[str, Literal["POST", "PUT", "PATCH", "DELETE"]]] = {
    name: name for name in ("POST", "PUT", "PATCH", "DELETE")
}


def vread(bridge: Bridge, grant: Grant, type_: str, id_: str, *, vid: str) -> Row:
    """Return one version of a resource that the Grant may read.

    Raises:
        NotFound: no such version. Gone: it is the deletion.
    """
    filter_ = allowed(grant, (type_,), "r")
    number = int(vid) if vid.isascii() and vid.isdigit() and len(vid) < 10 else 0  # noqa: PLR2004 - fits any column
    row = bridge.store.read(lambda conn: resources.vread(conn, filter_, type_, id_, vid=number))
    if row is None:
        raise NotFound(f"There is no such version of this {type_}")
    if row.deleted:
        raise Gone(f"This version is the deletion of the {type_}")
    return row


def history(bridge: Bridge, grant: Grant, path: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Answer with the newest page of what happened at `path`: Type/id, Type, or empty for all types.

    Raises:
        NotFound: the resource never was, or is not for this Grant.
        BadParameter: a parameter twice, or one that cannot be read.
    """
    query = tuple((name, value) for name, value in pairs if name in _PARAMETERS and value)
    _options(query)
    type_, _, id_ = path.partition("/")
    if id_ and find(bridge, allowed(grant, (type_,), "r"), type_, id_) is None:
        raise NotFound(f"There is no {type_} with this id")
    if any(name == "_since" for name, _ in query):
        bridge.store.barrier(grant.tenant)
    now = bridge.store.read(lambda conn: resources.snapshot(conn, grant.tenant))
    return page(bridge, grant, Place("history", path, query, now.seq, resources.now_ms()))


def page(bridge: Bridge, grant: Grant, place: Place) -> str:
    """Answer with one page; the rights are judged anew."""
    type_, _, id_ = place.path.partition("/")
    types = (type_,) if type_ else tuple(name for name in BY_TYPE if grant.scopes_for(name, "s"))
    filter_ = allowed(grant, types or tuple(BY_TYPE), "r" if id_ else "s")
    found, total = bridge.store.read(lambda conn: _read(conn, bridge, filter_, place))
    own = f"{bridge.base}/{place.path}".rstrip("/") + "/_history"
    query = urlencode(place.query)
    beside = {
        "self": own + (f"?{query}" if query else ""),
        **links(bridge, grant, place.beside(found, total)),
    }
    return bundle([_past(row) for row in found.rows], base=bridge.base, links=beside, total=total)


def _read(conn: Connection, bridge: Bridge, filter_: Filter, place: Place) -> tuple[Page, int]:
    type_, _, id_ = place.path.partition("/")
    types, one = (type_,) if type_ else (), id_ or None
    options = _options(place.query)
    count = min(int(options.get("_count", bridge.settings.page_size)), bridge.settings.max_page_size)
    if "_at" in options:
        return _at(conn, filter_, place, count)
    tenant = filter_.tenant
    since = resources.seq_at(conn, tenant, _ms(options["_since"]) - 1) if "_since" in options else 0
    found = resources.history(
        conn, filter_, types=types, id=one, since=since, snapshot=place.snapshot, after=place.after, count=count
    )
    total = place.total
    if total is None:
        total = resources.history_total(conn, filter_, types=types, id=one, since=since, snapshot=place.snapshot)
    return found, total


def _at(conn: Connection, filter_: Filter, place: Place, count: int) -> tuple[Page, int]:
    """Read the versions that were current at a moment: a search in the snapshot of that time."""
    type_, _, id_ = place.path.partition("/")
    narrowed = filter_.narrowed(OfType((type_,)) if type_ else ALL, Ids((id_,)) if id_ else ALL)
    then = min(place.snapshot, resources.seq_at(conn, filter_.tenant, _ms(_options(place.query)["_at"])))
    found = resources.search(conn, narrowed, snapshot=then, after=place.after, count=count)
    return found, resources.total(conn, narrowed, snapshot=then)


def _options(query: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return the parameters, each of which may be given once (http.html#history)."""
    options = dict(query)
    if len(options) < len(query):
        raise BadParameter("_since, _at and _count are given once each")
    if not options.get("_count", "1").isdecimal():
        raise BadParameter("_count is a whole number")
    for name in ("_since", "_at"):
        if name in options:
            _ms(options[name])
    return options


def _ms(text: str) -> int:
    found = encode.moments(text.replace(" ", "+"))
    if found is None:
        raise BadParameter("_since and _at are instants, such as 2026-11-22T08:15:00Z")
    return int(found.start.timestamp() * 1000)


def _past(row: Row) -> Past:
    method = _METHODS[row.method]
    return Past(row.type, row.id, row.vid, row.at, method, None if row.deleted else row.body)
