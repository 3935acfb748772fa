"""Page links: where in which search or history a page begins, sealed so that they tell nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, unquote

from fhir_bridge.errors import BadSetting, Gone, NotFound
from fhir_bridge.store import resources

if TYPE_CHECKING:
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.resources import Cursor
    from fhir_bridge.verbs.bridge import Bridge

_ABOUT: Final = "page link"
LINK_MS: Final = 3_600_000  # how long a link is good for


@dataclass(frozen=True)
class Place:
    """A page: of what, asked how, in which snapshot, beginning where; `before` are the pages gone through."""

    of: Literal["search", "history"]
    path: str  # Type, Type/id, or empty for the system
    query: tuple[tuple[str, str], ...]
    snapshot: int
    made_ms: int
    after: Cursor | None = None
    total: int | None = None
    before: tuple[Cursor | None, ...] = ()

    def following(self, after: Cursor, total: int | None) -> Place:
        """Return the next page's place."""
        return replace(self, after=after, total=total, before=(*self.before, self.after))

    def previous(self) -> Place | None:
        """Return the place of the page before, if there is one."""
        return replace(self, after=self.before[-1], before=self.before[:-1]) if self.before else None


def links(bridge: Bridge, place: Place, following: Cursor | None, total: int | None) -> dict[str, str]:
    """Return the links of a page to those beside it."""
    beside = {
        "next": place.following(following, total) if following is not None else None,
        "previous": place.previous(),
    }
    return {relation: _url(bridge, found) for relation, found in beside.items() if found is not None}


def opened(bridge: Bridge, grant: Grant, sealed: str) -> Place:
    """Return the place a link names.

    Raises:
        NotFound: no link of ours. Gone: too old, its snapshot cannot be searched any more.
    """
    place = _unsealed(bridge, sealed)
    now = bridge.store.read(lambda conn: resources.snapshot(conn, grant.tenant))
    if resources.now_ms() - place.made_ms > LINK_MS or place.snapshot < now.keys_from:
        raise Gone("This page link has expired: search again")
    return place


def _url(bridge: Bridge, place: Place) -> str:
    sealed = bridge.keyring.wrap(json.dumps(vars(place)).encode(), about=_ABOUT)
    return f"{bridge.base}/_page/{quote(sealed, safe='').replace('%', '~')}"


def _unsealed(bridge: Bridge, sealed: str) -> Place:
    try:
        fields = json.loads(bridge.keyring.unwrap(unquote(sealed.replace("~", "%")), about=_ABOUT))
    except (BadSetting, ValueError) as exc:
        raise NotFound("There is no such page: search again") from exc
    query = tuple((str(name), str(value)) for name, value in fields["query"])
    before = tuple(_cursor(each) for each in fields["before"])
    return Place(**(fields | {"query": query, "after": _cursor(fields["after"]), "before": before}))


def _cursor(value: list[str | int] | None) -> Cursor | None:
    return None if value is None else tuple(value)
