"""Every kind of write of the store, to be tried on a disk that fills up: a resource, and what is written beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select
from store_making import TENANT, new

from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import (
    asynchronous,
    audit,
    audit_chain,
    binaries,
    erasure,
    jobs,
    oauth,
    past_keys,
    reindex,
    resources,
    results,
    tables,
    uploads,
)
from fhir_bridge.store.jobs import NewJob
from fhir_bridge.store.results import FactRow, InteractionRow, MediaKey, Received, SegmentRow
from fhir_bridge.store.states import State

if TYPE_CHECKING:
    from sqlalchemy import Connection

KEYS: Final = KeyRing(b"a key for tests only")
LONG: Final = "x" * 1_500
Site = Callable[["Connection", int], object]


def _job(conn: Connection, n: int) -> jobs.Job:
    return jobs.create(conn, NewJob("media", TENANT, f"e{n}", f"t{n}", f"m{n}"))


def _claimed(conn: Connection, n: int) -> jobs.Claim:
    made = _job(conn, n)
    jobs.claim(conn, made.ticket, owner=LONG, lease_seconds=30)
    return jobs.Claim(made.id, made.epoch, LONG)


def _taken_over(conn: Connection, n: int) -> object:
    _claimed(conn, n)
    return jobs.take_over(conn, jobs.by_id(conn, f"t{n}"))


def _again(conn: Connection, n: int) -> object:
    jobs.finish(conn, _claimed(conn, n), State.FAILED, code="x", text=LONG)
    return jobs.again(conn, f"t{n}")


def _segments(conn: Connection, n: int) -> MediaKey:
    results.add_segments(conn, MediaKey(TENANT, f"m{n}"), [SegmentRow(1, 0, 0, 1, None, 0, LONG)])
    return MediaKey(TENANT, f"m{n}")


def _facts(conn: Connection, n: int) -> list[FactRow]:
    rows = [FactRow(f"m{n}", LONG, "o", "l")]
    results.add_facts(conn, TENANT, rows)
    return rows


def _content(conn: Connection, n: int) -> str:
    binaries.add(conn, TENANT, binaries.StoredBlob(f"e{n}", LONG, 1, "s", "s", LONG, 1))
    return f"e{n}"


def _told(conn: Connection, n: int) -> audit_chain.Chain:
    audit.record(conn, [audit.AuditRow(TENANT, f"r{n}", "read", 200, query=LONG)], compartment=1)
    return oauth.tenant(conn, TENANT).open_chain(KEYS)


def _redacted(conn: Connection, n: int) -> object:
    chain = _told(conn, n)
    last = conn.execute(select(func.max(tables.audit.c.n))).scalar()
    audit_chain.seal(conn, chain, upto=last, count=9)
    return audit_chain.rewrite(conn, chain, [(last, {"query": LONG * 2})])


def _uploading(conn: Connection, n: int) -> uploads.Upload:
    uploads.begin(conn, made := uploads.Upload(TENANT, f"u{n}", "c", 9, LONG, None, 1))
    return made


def _request(conn: Connection, n: int) -> asynchronous.Turn:
    asynchronous.add(conn, asynchronous.Request(f"q{n}", TENANT, "c", "search", 1, asked=LONG))
    claimed = asynchronous.claim(conn, f"q{n}", owner="w", lease_seconds=30)
    return asynchronous.Turn(claimed.id, claimed.epoch, "w")


def _interaction(conn: Connection, n: int) -> object:
    row = InteractionRow(TENANT, f"e{n}", LONG, 1, sent=True)
    results.put_interaction(conn, row)
    return results.note_received(conn, TENANT, f"e{n}", Received(4, 9))


def _erased(conn: Connection, n: int) -> object:
    made = erasure.begin(conn, erasure.Erasure(f"x{n}", TENANT, f"Patient/p{n}", "intended", 1, words=f'["{LONG}"]'))
    return erasure.destroy(conn, made.id, [("Patient", f"p{n}")], lease_ms=1)


def _once(conn: Connection, n: int) -> object:
    return resources.once(conn, TENANT, "k", f"{n} {LONG}", mine=resources.Once("d", "Encounter", f"e{n}"))


def _released(conn: Connection, n: int) -> object:
    _once(conn, n)
    return resources.release(conn, TENANT, ("Encounter", f"e{n}"))


SITES: Final[dict[str, Site]] = {
    "a resource": lambda conn, n: resources.put(conn, TENANT, (new(f"e{n}", after=f'}},"t":"{LONG}"}}'),)),
    "a resource with many keys": lambda conn, n: resources.put(
        conn, TENANT, (new(f"e{n}", keys=[(1, f"{k} {LONG[:400]}") for k in range(9)]),)
    ),
    "a deletion": lambda conn, n: resources.remove(conn, TENANT, "Encounter", f"e{n}", author="ehr"),
    "a claim": _once,
    "a claim released": _released,
    "the content of a Binary": _content,
    "content forgotten": lambda conn, n: binaries.forget(conn, TENANT, _content(conn, n)),
    "a job with its run": _job,
    "a job claimed": _claimed,
    "a job that goes on": lambda conn, n: jobs.advance(conn, _claimed(conn, n), error_text=LONG),
    "a lease renewed": lambda conn, n: _claimed(conn, n) and jobs.renew(conn, LONG, [f"t{n}"], lease_seconds=30),
    "a job given back": lambda conn, n: jobs.release(conn, _claimed(conn, n), delay=5),
    "a job ended": lambda conn, n: jobs.finish(conn, _claimed(conn, n), State.FAILED, code="x", text=LONG),
    "a job cancelled": lambda conn, n: jobs.cancel(conn, _job(conn, n).id),
    "a job taken over": _taken_over,
    "a job begun again": _again,
    "words": _segments,
    "words superseded": lambda conn, n: results.supersede(conn, _segments(conn, n), before=2, base_ms=0),
    "facts": _facts,
    "facts forgotten": lambda conn, n: results.forget_facts(conn, TENANT, _facts(conn, n)),
    "results forgotten": lambda conn, n: results.forget(conn, _segments(conn, n)),
    "an interaction": _interaction,
    "an audit row": _told,
    "the audit sealed": lambda conn, n: audit_chain.seal(conn, _told(conn, n), upto=10**9, count=99),
    "an audit row erased": _redacted,
    "an upload begun": _uploading,
    "an upload's part": lambda conn, n: uploads.add(conn, _uploading(conn, n), uploads.Part(0, 9, LONG, "k")),
    "an upload ended": lambda conn, n: uploads.forget(conn, _uploading(conn, n)),
    "an answer for later": lambda conn, n: asynchronous.finish(conn, _request(conn, n), answer=LONG),
    "a client": lambda conn, n: oauth.add_client(conn, oauth.Client(f"c{n}", TENANT, LONG, "s", 1)),
    "a tenant": lambda conn, n: oauth.add_tenant(conn, oauth.new_tenant(f"t{n} {LONG}", KEYS)),
    "an assertion used": lambda conn, n: oauth.first_use(conn, iss=LONG, jti=f"{n}", exp=1),
    "a signing key": lambda conn, n: oauth.add_signing_key(conn, oauth.SigningKey(f"k{n}", f"a{n}", LONG, 1)),
    "keys of the past dropped": lambda conn, _: past_keys.drop(conn, TENANT, before_ms=10**15),
    "keys of the present added": lambda conn, n: reindex.add(conn, TENANT, [(n + 1, ((1, f"{n} {LONG}", None),))]),
    "an erasure": _erased,
}
