"""Links between the entries of a transaction, and conditional references, as places of resources.

http://hl7.org/fhir/R4/http.html#trules: fullUrls are replaced wherever a resource may
name them; a conditional reference meets what is stored and what the transaction writes,
and has to meet exactly one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhir_bridge.errors import Invalid, Issue, MultipleMatches, NotFound
from fhir_bridge.fhir.resource.references import references, rewrite
from fhir_bridge.store import resources
from fhir_bridge.verbs.bundles.asks import placed
from fhir_bridge.verbs.bundles.targets import with_id
from fhir_bridge.verbs.conditional import asked, pairs_of
from fhir_bridge.verbs.holds import holds
from fhir_bridge.verbs.plan import Condition
from fhir_bridge.verbs.record import new_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.store.versions import NewVersion
    from fhir_bridge.verbs.bundles.asks import Ask
    from fhir_bridge.verbs.bundles.targets import Target
    from fhir_bridge.verbs.write import Writer


@dataclass(frozen=True)
class Linked:
    """The resources that will be written, by their target, and what has to stay so for their links to hold."""

    written: tuple[tuple[Target, Json], ...]
    conditions: tuple[Condition, ...] = ()


def linked(by: Writer, targets: list[Target], contents: Mapping[int, Json]) -> Linked:
    """Replace all links in what the targets will write; `contents` are by the index of the entry.

    Raises:
        Invalid: two entries have one fullUrl, or a link names no entry.
        NotFound, MultipleMatches: a conditional reference meets none, or several.
    """
    places = _places(targets, by.bridge.base)
    writing = [target for target in targets if target.writes and target.ask.index in contents]
    drafts = [(each, rewrite(with_id(each, contents[each.ask.index]), places)) for each in writing]
    for target, json in drafts:
        _require_resolved(target, json)
    return _resolved(by, targets, drafts)


def require_alone(ask: Ask, full_urls: frozenset[str]) -> None:
    """Refuse an entry of a batch that leans on others, or on a search: nothing is replaced there.

    Raises:
        Invalid: naming the reference.
    """
    for at, link in _links(ask.json or {}):
        if link in full_urls or "?" in link:
            text = "In a batch references name resources by Type/id or URL: use a transaction for others"
            raise Invalid(text, issues=(Issue("value", text, at),))


def _places(targets: list[Target], base: str) -> dict[str, str]:
    named = [(target.ask.full_url, target) for target in targets if target.ask.full_url and target.id]
    places = {url: target.place for url, target in named if url}
    if len(places) < len(named):
        raise Invalid("Two entries have the same fullUrl", at="Bundle.entry.fullUrl")
    return places | {f"{base}/{target.place}": target.place for target in targets if target.id}


def _require_resolved(target: Target, json: Json) -> None:
    for at, link in _links(json):
        if link.startswith("urn:"):
            text = "A reference names no entry of this transaction"
            with placed(target.ask):
                raise Invalid(text, issues=(Issue("not-found", text, at),))


def _links(json: Json) -> Iterator[tuple[str, str]]:
    for at, reference in references(json):
        link = reference.get("reference")
        if isinstance(link, str):
            yield at, link


# --- conditional references --------------------------------------------------------------


def _resolved(by: Writer, targets: list[Target], drafts: list[tuple[Target, Json]]) -> Linked:
    found: dict[str, str] = {}
    conditions: list[Condition] = []
    search = _Search(by, targets, drafts)
    for target, json in drafts:
        for at, link in _links(json):
            if "?" in link and link not in found:
                with placed(target.ask, at.replace(str(json["resourceType"]), "resource", 1)):
                    found[link], condition = search.one(link)
                conditions.append(condition)
    return Linked(tuple((target, rewrite(json, found)) for target, json in drafts), tuple(conditions))


class _Search:
    """Finds what a criterion meets once the transaction is done: what is stored, less and more by its entries."""

    def __init__(self, by: Writer, targets: list[Target], drafts: list[tuple[Target, Json]]) -> None:
        self._by = by
        self._gone = {target.place for target in targets if target.writes}
        self._drafts = drafts
        self._versions: dict[str, list[NewVersion]] = {}

    def one(self, link: str) -> tuple[str, Condition]:
        """Return the place of the one resource that a conditional reference means."""
        type_, _, criteria = link.removeprefix(f"{self._by.bridge.base}/").partition("?")
        filter_ = asked(self._by.bridge, self._by.grant, type_, pairs_of(criteria))
        most = len(self._gone) + 2
        rows = self._by.bridge.store.read(lambda conn: resources.search(conn, filter_, count=most)).rows
        stored = [f"{row.type}/{row.id}" for row in rows]
        written = [f"{type_}/{each.id}" for each in self._written(type_) if holds(filter_.where, each)]
        met = [place for place in stored if place not in self._gone] + written
        if not met:
            raise NotFound("A conditional reference meets no resource")
        if len(met) > 1:
            raise MultipleMatches("A conditional reference meets more than one resource")
        return met[0], Condition(filter_, tuple(row.id for row in rows))

    def _written(self, type_: str) -> list[NewVersion]:
        """Return what the transaction writes of a type, as it will be found."""
        if type_ not in self._versions:
            mine = (json for _, json in self._drafts if json["resourceType"] == type_)
            self._versions[type_] = [new_version(json, base=self._by.bridge.base) for json in mine]
        return self._versions[type_]
