"""vread and history: what was there before (http://hl7.org/fhir/R4/http.html#history)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlencode

from fhir_bridge.errors import BadParameter, Gone, NotFound
from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.bundle import Past
from fhir_bridge.fhir.rest.bundle import history as bundle
from fhir_bridge.fhir.rest.served import BY_TYPE, offers
from fhir_bridge.store import history as past
from fhir_bridge.store import resources
from fhir_bridge.store.filter import Not, OfType
from fhir_bridge.store.history import Told
from fhir_bridge.verbs.paging import Place, links
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import find

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from fhir_bridge.fhir.rest.encode import Moments
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.smart.scope import Right
    from fhir_bridge.store.filter import Filter
    from fhir_bridge.store.resources import Page, Row
    from fhir_bridge.verbs.bridge import Bridge

_PARAMETERS: Final = ("_since", "_at", "_count", "_type")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
# Left out of the history of all types unless it is named (ruling 22).
_NAMED_ONLY: Final = frozenset({"AuditEvent"})
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
    row = bridge.store.read(lambda conn: past.vread(conn, filter_, type_, id_, vid=number))
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
    known = _PARAMETERS if not path else _PARAMETERS[:-1]
    query = tuple((name, value) for name, value in pairs if name in known and value)
    options = _options(query)
    type_, _, id_ = path.partition("/")
    if id_ and find(bridge, _allowed(grant, (type_,), "r"), type_, id_) is None:
        raise NotFound(f"There is no {type_} with this id")
    if {"_since", "_at"} & {*options}:
        bridge.store.barrier(grant.tenant)
    now = bridge.store.read(lambda conn: resources.snapshot(conn, grant.tenant))
    return page(bridge, grant, Place("history", path, query, now.seq, resources.now_ms()))


def page(bridge: Bridge, grant: Grant, place: Place) -> str:
    """Answer with one page; the rights are judged anew."""
    filter_ = _allowed(grant, _types(grant, place), "r" if "/" in place.path else "s")
    found, total = bridge.store.read(lambda conn: _read(conn, bridge, filter_, place))
    own = f"{bridge.base}/{place.path}".rstrip("/") + "/_history"
    query = urlencode(place.query)
    beside = {
        "self": own + (f"?{query}" if query else ""),
        **links(bridge, grant, place.beside(found, total)),
    }
    revived = bridge.store.read(lambda conn: past.revived(conn, grant.tenant, found.rows))
    told = [_past(row, is_new=row.vid == 1 or row.seq in revived) for row in found.rows]
    return bundle(told, base=bridge.base, links=beside, total=total)


def _types(grant: Grant, place: Place) -> tuple[str, ...]:
    """Return the types asked for; of all types, those the Grant may search."""
    type_ = place.path.partition("/")[0]
    if type_:
        return (type_,)
    named = tuple(name for name in _options(place.query).get("_type", "").split(",") if name)
    if named:
        return named
    every = tuple(name for name in BY_TYPE if offers(name, "history-type") and name not in _NAMED_ONLY)
    return tuple(name for name in every if grant.scopes_for(name, "s")) or every


def _allowed(grant: Grant, types: tuple[str, ...], right: Right) -> Filter:
    """Return what may be told of: of Binaries, only to whoever may read all that they may belong to.

    Which Binaries there are tells of recordings, and a list cannot look at the context of each.
    """
    filter_ = allowed(grant, types, right)
    if "Binary" not in types or all(_unlimited(grant, name) for name in BY_TYPE):
        return filter_
    return filter_.narrowed(Not(OfType(("Binary",))))


def _unlimited(grant: Grant, type_: str) -> bool:
    scopes = grant.scopes_for(type_, "r")
    return any(
        not scope.query and (scope.level == "system" or (scope.level == "user" and grant.user)) for scope in scopes
    )


def _read(conn: Connection, bridge: Bridge, filter_: Filter, place: Place) -> tuple[Page, int]:
    count = int(_options(place.query).get("_count", bridge.settings.page_size))
    told = _told(conn, filter_.tenant, place)
    found = past.history(conn, filter_, told, after=place.after, count=min(count, bridge.settings.max_page_size))
    total = place.total
    return found, past.history_total(conn, filter_, told) if total is None else total


def _told(conn: Connection, tenant: str, place: Place) -> Told:
    """Turn times into commits. _at tells what was current at some time within its span (http.html#history)."""
    options = _options(place.query)
    type_, _, id_ = place.path.partition("/")
    told = Told(place.snapshot, types=(type_,) if type_ else (), id=id_ or None)
    if "_since" in options:
        told = replace(told, since=resources.seq_at(conn, tenant, _ms(_moments(options["_since"]).start) - 1))
    if "_at" not in options:
        return told
    span = _moments(options["_at"])
    first, last = (resources.seq_at(conn, tenant, ms) for ms in (_ms(span.start), _ms(span.end) - 1))
    return replace(told, snapshot=min(place.snapshot, last), current_after=first)


def _options(query: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return the parameters, each of which may be given once (http.html#history)."""
    options = dict(query)
    if len(options) < len(query):
        raise BadParameter("_since, _at, _count and _type are given once each")
    count = options.get("_count", "1")
    if not (count.isascii() and count.isdigit() and len(count) < 10):  # noqa: PLR2004 - fits any integer
        raise BadParameter("_count is a whole number")
    for name in ("_since", "_at"):
        if name in options:
            _moments(options[name])
    if any(not offers(name, "history-type") for name in options.get("_type", "").split(",") if name):
        raise BadParameter("_type names types whose history is served, separated by commas")
    return options


def _moments(text: str) -> Moments:
    found = encode.moments(text.replace(" ", "+"))
    if found is None:
        raise BadParameter("_since and _at are instants, such as 2026-11-22T08:15:00Z")
    return found


def _ms(moment: datetime) -> int:
    """Return the first millisecond that is not before a moment: versions are stamped with whole ones."""
    return -((_EPOCH - moment) // _MS)


def _past(row: Row, *, is_new: bool) -> Past:
    method = _METHODS[row.method]
    return Past(row.type, row.id, row.vid, row.at, method, None if row.deleted else row.body, is_new=is_new)
