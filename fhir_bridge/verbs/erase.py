"""Erasing a visit or a patient: what belongs to them is destroyed here at once, everywhere else as soon as it can be.

A tombstone stays, and an audit that knows a pseudonym (reliability.md; security.md, GDPR).
"""

from __future__ import annotations

import hmac
import json
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

from fhir_bridge import clock, log, points
from fhir_bridge.errors import BadParameter, NotFound
from fhir_bridge.fhir.rest.served import BY_TYPE, ENCOUNTER_COMPARTMENT, PATIENT_COMPARTMENT
from fhir_bridge.store import audit, audit_chain, erasure, oauth, resources, subject
from fhir_bridge.store.erasure import Erasure
from fhir_bridge.store.filter import Filter
from fhir_bridge.store.jobs import now_ms
from fhir_bridge.store.subject import Numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

    from fhir_bridge.blobs import Blobs
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.keyring import KeyRing
    from fhir_bridge.settings import Settings
    from fhir_bridge.store import Store
    from fhir_bridge.store.audit import AuditRow
    from fhir_bridge.store.audit_chain import Chain

TYPES: Final = ("Encounter", "Patient")
ERASE: Final = "$erase"
_REFERENCE: Final = re.compile(r"(Encounter|Patient)/([A-Za-z0-9\-.]{1,64})")
_IDS: Final = re.compile(r"[A-Za-z0-9\-.]+")
_PAGE: Final = 500  # audit rows looked through, and rewritten, at once
_SECONDS_OF_CALLS: Final = 2  # a worker that was stopped may have one call to Corti under way, and its repetition
_ERASED: Final = "erased"  # instead of a request id that a client made of what is gone
_DIGITS: Final = 24


def _number(type_: str, name: str) -> int:
    param = BY_TYPE[type_].param(name)
    assert param is not None  # noqa: S101 - served.py lists it
    return param.number


_RESULTS: Final = (_number("Observation", "derived-from"), _number("DocumentReference", "related"))
NUMBERS: Final = Numbers(PATIENT_COMPARTMENT, ENCOUNTER_COMPARTMENT, _number("Provenance", "target"), _RESULTS)


@dataclass(frozen=True)
class Eraser:
    """Whoever carries erasures out: what of it the store, the disk and the audit have to do."""

    settings: Settings
    store: Store
    blobs: Blobs
    keys: KeyRing

    def begin(self, tenant: str, reference: str, *, by: AuditRow) -> Erasure:
        """Write the intent to erase `Encounter/id` or `Patient/id`; one that is under way, or done, is that one.

        The audit is told who asked, with the intent and under the pseudonym alone.

        Raises:
            BadParameter: nothing else is erased by itself. NotFound: there is nothing of it here.
        """
        if _REFERENCE.fullmatch(reference) is None:
            raise BadParameter("What is erased is an Encounter/id or a Patient/id, with all that belongs to it")
        name = pseudonym(self._chain(tenant), reference)
        row = replace(by, type=name.partition("/")[0], id=name.partition("/")[2])
        new = Erasure(clock.new_id(), tenant, reference, "intended", now_ms())
        began = self.store.of(tenant).write(lambda conn: _begun(conn, new, name, row))
        points.reached("erase.intended")
        if began.id == new.id:
            log.event("erasure.started", tenant=tenant, erasure=began.id)
        return began

    def destroy(self, this: Erasure) -> Erasure:
        """Destroy what is here: one visit after the other, then the rest."""
        busy_ms = int((self.settings.lease_seconds + self.settings.corti_timeout_seconds * _SECONDS_OF_CALLS) * 1000)
        while self.store.of(this.tenant).write(partial(_destroyed_some, this=this, lease_ms=busy_ms)):
            points.reached("erase.visited")
        points.reached("erase.destroyed")
        return self.current(this)

    def forget(self, this: Erasure) -> Erasure:
        """Take the subject out of the audit, and the files off the disk."""
        chain = self._chain(this.tenant)
        ids = frozenset(json.loads(this.ids or "[]")) | {this.subject}
        words = tuple(unquote_plus(word).casefold() for word in json.loads(this.words or "[]"))
        theirs = self.store.of(this.tenant)
        upto = theirs.write(audit_chain.sealable)  # rows may still appear beyond: another round reads those
        pages = self._told(chain, Marks(ids, words), after=this.audited)
        rewritten = sum(self._rewritten(chain, page) for page in pages)
        points.reached("erase.rewritten")
        blobs = json.loads(this.blobs)
        for blob in blobs:
            self.blobs.shred(blob)
            points.reached("erase.shredded")
        theirs.write(lambda conn: erasure.note(conn, this.id, pseudonyms=rewritten, audited=upto, blobs="[]"))
        points.reached("erase.forgotten")
        return self.current(this)

    def finish(self, this: Erasure) -> Erasure:
        """End it: all have forgotten."""
        chain = self._chain(this.tenant)
        name = pseudonym(chain, this.subject)
        report = proof(chain, this, name)
        points.reached("erase.finishing")
        if self.store.of(this.tenant).write(lambda conn: erasure.finish(conn, this.id, pseudonym=name, report=report)):
            points.reached("erase.finished")
            log.event("erasure.done", tenant=this.tenant, erasure=this.id)
        return self.current(this)

    def current(self, this: Erasure) -> Erasure:
        """Return an erasure as it stands."""
        return self.store.of(this.tenant).read(lambda conn: erasure.by_id(conn, this.id))

    def _chain(self, tenant: str) -> Chain:
        row = self.store.of(tenant).read(lambda conn: oauth.tenant(conn, tenant))
        if row is None:
            raise NotFound("There is no such tenant")
        return row.open_chain(self.keys)

    def _told(self, chain: Chain, marks: Marks, *, after: int) -> Iterator[dict[int, dict[str, str | None]]]:
        """Find audit rows that tell of what was destroyed, and what is to stand there instead."""
        theirs = self.store.of(chain.tenant)
        while rows := theirs.read(partial(audit.recorded, tenant=chain.tenant, after=after, count=_PAGE)):
            after = rows[-1][0]
            found = {n: changes for n, row in rows if (changes := marks.changes(row, chain))}
            if found:
                yield found

    def _rewritten(self, chain: Chain, found: Mapping[int, Mapping[str, str | None]]) -> int:
        return self.store.of(chain.tenant).write(lambda conn: audit_chain.rewrite(conn, chain, found.items()))


@dataclass(frozen=True)
class Marks:
    """By what an audit row is known to tell of the subject: Type/id, and words in a query."""

    places: frozenset[str]
    words: tuple[str, ...]

    def changes(self, row: AuditRow, chain: Chain) -> dict[str, str | None]:
        """Return what has to change in a row; nothing when it tells of others."""
        found: dict[str, str | None] = {}
        place = f"{row.type}/{row.id}"
        if row.id is not None and place in self.places:
            found["id"] = pseudonym(chain, place).partition("/")[2]
        for name, value in (("patient", row.patient), ("user", row.user)):
            if value in self.places:
                found[name] = pseudonym(chain, str(value))
        if self._names(row.request):
            found["request"] = _ERASED
        if row.query and (found or self._names(row.query)):
            found["query"] = None
        return found

    def _names(self, query: str) -> bool:
        said = unquote_plus(query)
        ids = set(_IDS.findall(said))
        if any(place.partition("/")[2] in ids for place in self.places):
            return True
        folded = said.casefold()
        return any(word in folded for word in self.words)


def pseudonym(chain: Chain, reference: str) -> str:
    """Return what stands for a destroyed resource: the same each time, and known only to who has the key."""
    digest = hmac.digest(chain.key, f"pseudonym {reference}".encode(), "sha256").hex()
    return f"{reference.partition('/')[0]}/erased-{digest[:_DIGITS]}"


def proof(chain: Chain, this: Erasure, name: str) -> Json:
    """Return what can be shown of an erasure, sealed: counts and hashes, nothing of what was destroyed."""
    told = json.loads(this.report)
    forgotten = sum(one["corti_id"] is not None for one in json.loads(this.corti))
    report: Json = {
        "erasure": this.id,
        "tenant": this.tenant,
        "subject": name,
        "asked_at": resources.instant(this.created_ms),
        "done_at": clock.instant(),
        **told,
        "counts": told.get("counts", {}) | {"interactions_at_corti": forgotten},
    }
    text = json.dumps(report, sort_keys=True)
    return report | {"seal": hmac.digest(chain.key, f"proof {text}".encode(), "sha256").hex()}


def _begun(conn: Connection, new: Erasure, name: str, row: AuditRow) -> Erasure:
    """In one transaction: of two who ask at once, the second meets what the first began, or its end."""
    resources.hold(conn, new.tenant)
    there = _there(conn, new.tenant, new.subject)
    this = erasure.begin(conn, new) if there else erasure.of(conn, new.tenant, name)
    if this is None:
        raise NotFound(f"There is nothing of {new.type}/… with this id")
    audit.record(conn, (row,), compartment=PATIENT_COMPARTMENT)
    return this


def _there(conn: Connection, tenant: str, reference: str) -> bool:
    """Tell whether anything of the subject is here: also of one that lives in the EHR alone, or is only deleted."""
    type_, _, id_ = reference.partition("/")
    if erasure.of(conn, tenant, reference) is not None:
        return True
    places = _places(conn, tenant, type_, id_)
    row = resources.read(conn, Filter(tenant), type_, id_)
    return any(True for _ in subject.bodies(conn, tenant, places)) or (row is not None and bool(row.body))


def _places(conn: Connection, tenant: str, type_: str, id_: str) -> set[subject.Place]:
    gather = subject.of_encounter if type_ == "Encounter" else subject.of_patient
    return gather(conn, tenant, id_, NUMBERS)


def _destroyed_some(conn: Connection, *, this: Erasure, lease_ms: int) -> bool:
    """Destroy the next visit of a patient, or the rest; True: there is more."""
    resources.hold(conn, this.tenant)
    points.reached("erase.destroying")
    if erasure.by_id(conn, this.id).state != "intended":
        return False
    next_ = subject.visit(conn, this.tenant, this.of, NUMBERS) if this.type == "Patient" else None
    places = _places(conn, this.tenant, *(("Encounter", next_) if next_ else (this.type, this.of)))
    erasure.destroy(conn, this.id, places, lease_ms=lease_ms)
    if next_ is None:
        erasure.destroyed(conn, this.id)
        points.reached("erase.entombed")
    return next_ is not None
