"""transaction: the entries of a Bundle happen whole or not at all (http://hl7.org/fhir/R4/http.html#transaction)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge import clock
from fhir_bridge.errors import BridgeError, Busy, Duplicate, Invalid, Issue, Malformed, NotSupported, TooLarge
from fhir_bridge.fhir.resource.references import references, rewrite
from fhir_bridge.fhir.rest.bundle import Done, transaction_response
from fhir_bridge.fhir.rest.served import offers
from fhir_bridge.verbs.case import Case
from fhir_bridge.verbs.plan import Taken, commit, merged
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.write import current_of, entry, existing_of, planned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.blobs.sealing import Blob
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bridge import Bridge
    from fhir_bridge.verbs.plan import Plan

_URL: Final = re.compile(r"(?P<type>[A-Z][A-Za-z]+)(?:/(?P<id>[A-Za-z0-9.\-]{1,64}))?")
_ROUNDS: Final = 5  # each meets one resource that was there already

Interaction = Literal["create", "update"]
_INTERACTION: Final[dict[str, Interaction]] = {"POST": "create", "PUT": "update"}


@dataclass(frozen=True)
class _Entry:
    """One entry: what it asks, the id its resource will have, and the resource that was there already."""

    index: int
    method: Literal["POST", "PUT"]
    full_url: str | None
    json: Json
    found: Row | None = None

    @property
    def at(self) -> str:
        return f"Bundle.entry[{self.index}]"

    @property
    def target(self) -> str:
        return f"{self.json['resourceType']}/{self.json['id']}"


@dataclass(frozen=True)
class Transaction:
    """A Bundle to be carried out."""

    bridge: Bridge
    grant: Grant
    blobs: Mapping[str, Blob]
    request: str

    def run(self, bundle: Json) -> tuple[str, bool]:
        """Carry it out; return the response Bundle and whether its audio is kept.

        Raises:
            Malformed: no transaction, or an entry that cannot be one.
            BridgeError: what an entry was refused with; nothing of the Bundle was kept.
        """
        entries = _entries(bundle, self.bridge.settings.max_transaction_entries)
        for _ in range(_ROUNDS):
            try:
                return self._once(_rewritten(entries, self.bridge.base))
            except _Met as met:
                entries = [_met_by(each, met) for each in entries]
        raise Busy("The same resources are being written elsewhere: send the transaction again", retry_after=1)

    def _once(self, entries: list[_Entry]) -> tuple[str, bool]:
        within = {each.target: each.json for each in entries}
        todo = [each for each in sorted(entries, key=lambda each: each.method) if each.found is None]
        cases = [(each, self._case(each, within)) for each in todo]
        plans = [self._planned(each, case) for each, case in cases]
        records = [entry(case, self.request, 200 if case.current else 201) for _, case in cases]
        try:
            rows = commit(self.bridge, self.grant.tenant, merged(plans), records)
        except Taken as taken:
            raise self._met(taken, cases) from taken
        by_target = {f"{row.type}/{row.id}": row for row in rows}
        done = [_done(each, by_target) for each in entries]
        return transaction_response(done), bool(plans)

    def _case(self, each: _Entry, within: Mapping[str, Json]) -> Case:
        type_ = str(each.json["resourceType"])
        right: Literal["c", "u"] = "c" if each.method == "POST" else "u"
        allowed(self.grant, (type_,), right)
        current = current_of(self.bridge, self.grant, type_, str(each.json["id"])) if each.method == "PUT" else None
        prefix = f"entry[{each.index}].resource."
        blobs = {at.removeprefix(prefix): blob for at, blob in self.blobs.items() if at.startswith(prefix)}
        expect = None if each.method == "POST" else current.vid if current else 0
        return Case(
            self.bridge, self.grant, each.json, each.method, current=current, blobs=blobs, within=within, expect=expect
        )

    def _planned(self, each: _Entry, case: Case) -> Plan:
        try:
            return planned(case)
        except BridgeError as exc:
            raise _within(exc, each) from exc

    def _met(self, taken: Taken, cases: list[tuple[_Entry, Case]]) -> BaseException:
        """An entry's resource is there already: use that one, unless it was sent with other content."""
        each, case = next((each, case) for each, case in cases if case.id == taken.key.mine.id)
        try:
            row = existing_of(case, taken)
        except Duplicate as exc:
            return _within(exc, each)
        return _Met(each.index, row) if each.method == "POST" else _within(Duplicate("Taken"), each)


class _Met(Exception):
    """The entry `index` would create what `row` is already."""

    def __init__(self, index: int, row: Row) -> None:
        super().__init__(index)
        self.index = index
        self.row = row


def _met_by(each: _Entry, met: _Met) -> _Entry:
    if each.index != met.index:
        return each
    return replace(each, json=each.json | {"id": met.row.id}, found=met.row)


def _entries(bundle: Json, most: int) -> list[_Entry]:
    if bundle.get("type") != "transaction":
        raise NotSupported("Only a Bundle of type transaction is taken here", at="Bundle.type")
    raw = bundle.get("entry", [])
    if not isinstance(raw, list):
        raise Malformed("Bundle.entry must be an array", at="Bundle.entry")
    if len(raw) > most:
        raise TooLarge(f"A transaction has at most {most} entries", at="Bundle.entry")
    entries = [_entry(index, each) for index, each in enumerate(raw)]
    if len({each.target for each in entries}) < len(entries):
        raise Invalid("Two entries are about the same resource", at="Bundle.entry")
    return entries


def _entry(index: int, raw: object) -> _Entry:
    at = f"Bundle.entry[{index}]"
    request, json = (raw.get("request"), raw.get("resource")) if isinstance(raw, dict) else (None, None)
    if not isinstance(raw, dict) or not isinstance(request, dict):
        raise Malformed("An entry of a transaction has a request", at=f"{at}.request")
    method, url = request.get("method"), _URL.fullmatch(str(request.get("url")))
    if method not in _INTERACTION:
        raise NotSupported("Entries are created by POST and updated by PUT here", at=f"{at}.request.method")
    if not isinstance(json, dict) or url is None or json.get("resourceType") != url["type"]:
        raise Malformed(
            "request.url names the type of the entry's resource, and its id for PUT", at=f"{at}.request.url"
        )
    if not offers(url["type"], _INTERACTION[method]):
        raise NotSupported(f"A {url['type']} cannot be written by {method}", at=f"{at}.request.url")
    if conditions := [name for name in ("ifNoneExist", "ifMatch", "ifNoneMatch", "ifModifiedSince") if name in request]:
        raise NotSupported("Conditions in a transaction are not read here", at=f"{at}.request.{conditions[0]}")
    if (method == "PUT") != bool(url["id"]) or (method == "PUT" and json.get("id") != url["id"]):
        raise Invalid("PUT names the id that its resource has, POST names none", at=f"{at}.request.url")
    full_url = raw.get("fullUrl")
    id_ = url["id"] or clock.new_id()
    return _Entry(index, method, full_url if isinstance(full_url, str) else None, {**json, "id": id_})


def _rewritten(entries: list[_Entry], base: str) -> list[_Entry]:
    """Replace references to an entry's fullUrl by the place its resource will have (http.html#trules)."""
    places = {each.full_url: each.target for each in entries if each.full_url}
    if len(places) < sum(1 for each in entries if each.full_url):
        raise Invalid("Two entries have the same fullUrl", at="Bundle.entry.fullUrl")
    absolute = {f"{base}/{each.target}": each.target for each in entries}
    made = [replace(each, json=rewrite(each.json, places | absolute)) for each in entries]
    for each in made:
        _require_resolved(each)
    return made


def _require_resolved(each: _Entry) -> None:
    for at, reference in references(each.json):
        if str(reference.get("reference", "")).startswith("urn:"):
            text = "A reference names no entry of this transaction"
            path = at.partition(".")[2]
            raise Invalid(text, issues=(Issue("not-found", text, f"{each.at}.resource.{path}"),))


def _within(exc: BridgeError, each: _Entry) -> BridgeError:
    """Say of an entry's refusal which entry it was."""
    type_ = str(each.json["resourceType"])
    issues = tuple(
        replace(issue, at=f"{each.at}.resource{(issue.at or '').removeprefix(type_)}") for issue in exc.issues
    )
    exc.issues = issues
    return exc


def _done(each: _Entry, rows: Mapping[str, Row]) -> Done:
    row = each.found or rows[each.target]
    status = HTTPStatus.OK if each.found or row.vid > 1 else HTTPStatus.CREATED
    return Done(
        int(status),
        location=f"{row.type}/{row.id}/_history/{row.vid}",
        etag=f'W/"{row.vid}"',
        last_modified=row.at,
        body=row.body,
    )
