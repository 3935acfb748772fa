"""Page links: where in which search or history a page begins, sealed so that they tell nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, unquote, urlencode

from fhir_bridge.errors import BadSetting, Gone, NotFound
from fhir_bridge.store import resources
from fhir_bridge.verbs import audit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.resources import Cursor, Page
    from fhir_bridge.verbs.bridge import Bridge

LINK_MS: Final = 3_600_000  # how long a link is good for


@dataclass(frozen=True)
class Place:
    """A page: of what, asked how, in which snapshot, beginning where."""

    of: Literal["search", "history", "everything"]
    path: str  # Type, Type/id, Compartment/id/Type, or empty for the system
    query: tuple[tuple[str, str], ...]
    snapshot: int
    made_ms: int
    after: Cursor | None = None
    total: int | None = None

    def beside(self, page: Page, total: int | None) -> dict[str, Place]:
        """Return the places of the pages after and before this one, as far as there are any."""
        cursors = {"next": page.following, "previous": page.previous}
        return {name: replace(self, after=at, total=total) for name, at in cursors.items() if at is not None}


def links(bridge: Bridge, grant: Grant, beside: Mapping[str, Place]) -> dict[str, str]:
    """Return the links to pages, which are of use to this caller only: they carry its total."""
    return {relation: _url(bridge, grant, place) for relation, place in beside.items()}


def opened(bridge: Bridge, grant: Grant, sealed: str) -> Place:
    """Return the place a link names.

    Raises:
        NotFound: no link of ours. Gone: too old, its snapshot cannot be searched any more.
    """
    place = _unsealed(bridge, grant, sealed)
    audit.current().query = place.path + (f"?{urlencode(place.query)}" if place.query else "")
    now = bridge.store.read(lambda conn: resources.snapshot(conn, grant.tenant))
    if resources.now_ms() - place.made_ms > LINK_MS or place.snapshot < now.keys_from:
        raise Gone("This page link has expired: search again")
    return place


def _about(grant: Grant) -> str:
    """Bind a link to what its caller may see: who may see other things finds no link of ours; a renewed token does."""
    may = {each.name: getattr(grant, each.name) for each in fields(grant) if each.compare}
    return f"page link {json.dumps(may, sort_keys=True)}"


def _url(bridge: Bridge, grant: Grant, place: Place) -> str:
    """Seal a place; a page of a type's search stays at its URL, as Medplum's client keeps a link's query alone."""
    sealed = bridge.keyring.wrap(json.dumps(vars(place)).encode(), about=_about(grant))
    name = quote(sealed, safe="").replace("%", "~")
    at_type = place.of == "search" and place.path and "/" not in place.path
    return f"{bridge.base}/{place.path}?_page={name}" if at_type else f"{bridge.base}/_page/{name}"


def _unsealed(bridge: Bridge, grant: Grant, sealed: str) -> Place:
    try:
        place = json.loads(bridge.keyring.unwrap(unquote(sealed.replace("~", "%")), about=_about(grant)))
    except (BadSetting, ValueError) as exc:
        raise NotFound("There is no such page: search again") from exc
    query = tuple((str(name), str(value)) for name, value in place["query"])
    return Place(**(place | {"query": query, "after": _cursor(place["after"])}))


def _cursor(value: list[str | int] | None) -> Cursor | None:
    return None if value is None else tuple(value)
