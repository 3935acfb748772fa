"""The audit sealed: each row is bound to the one before it (security.md, row T).

A link is an HMAC over the link before and the row. Its key is not in the database, so
who can write tables alone can neither alter, move or take away a sealed row nor seal
another in its place. Rows are sealed after they are committed: until then they can be
taken away unseen. Whoever can also read each end as it was sealed could put an old one
back, with the rows up to it: the event `audit.sealed` tells each end to the log.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fhir_bridge.store import tables
from fhir_bridge.store.audit import horizon
from fhir_bridge.store.finding import Finding
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sqlalchemy import Connection, Row, Select

_A: Final = tables.audit.c
_H: Final = tables.audit_head.c
_SEALS: Final = frozenset({"hash", "erased"})
_CONTENT: Final = tuple(column for column in tables.audit.c if column.name not in _SEALS)
_START: Final = ""
_PAGE: Final = 1_000
_FIRST: Final = -(2**62)  # numbers begin at 1, but whoever puts a row in may choose any
# Sealed within seconds while a worker runs; a row that still waits after this says that none does.
LATE_MS: Final = 15 * 60_000
_ROWS: Final = "the audit is as it was sealed"
_END: Final = "the audit ends where it was sealed"
_BEGINNING: Final = "the audit begins where its oldest rows were taken away when their time was over"
_WAITS: Final = "audit rows are sealed within a quarter of an hour"


@dataclass(frozen=True)
class Chain:
    """The chain of one tenant, and the key that is not in the database."""

    tenant: str
    key: bytes

    def link(self, before: str, row: Mapping[str, object]) -> str:
        """Return what seals a row that follows the link `before`."""
        return self._mac("row", before, _told(row))

    def remnant(self, before: str, row: Mapping[str, object], link: str) -> str:
        """Return what seals what is left of a row in its place, whose link stays that of the whole row."""
        return self._mac("erased", before, link, _told(row))

    def end(self, n: int, link: str) -> str:
        """Return what seals the end of the chain."""
        return self._mac("end", str(n), link)

    def start(self, n: int, link: str) -> str:
        """Return what seals that rows up to this one were taken away when their time was over."""
        return self._mac("start", str(n), link)

    def _mac(self, *parts: str) -> str:
        message = json.dumps([self.tenant, *parts], ensure_ascii=False).encode()
        return hmac.digest(self.key, message, "sha256").hex()


@dataclass(frozen=True)
class Head:
    """The end of a chain: its last row and that row's link."""

    n: int
    link: str


def sealable(conn: Connection) -> int:
    """Return the number up to which no row can appear any more; to be asked in a write of its own."""
    horizon(conn)  # whoever inserts has committed
    return conn.execute(select(func.max(_A.n))).scalar() or 0


def is_open(conn: Connection, tenant: str | None = None) -> bool:
    """Tell whether there are rows, of a tenant or of any, that wait for their seal."""
    unsealed = select(_A.n).where(_A.hash.is_(None)).limit(1)
    return conn.execute(unsealed if tenant is None else unsealed.where(_A.tenant == tenant)).first() is not None


def seal(conn: Connection, chain: Chain, *, upto: int, count: int) -> tuple[int, Head]:
    """Seal up to `count` rows that follow the end of the chain; return how many, and the new end.

    The end's row is locked first: of two who seal at once, the second goes on where the first ended.
    """
    head = held(conn, chain)
    following = select(*_CONTENT).where(_A.tenant == chain.tenant, _A.hash.is_(None), _A.n > head.n, _A.n <= upto)
    links: list[dict[str, object]] = []
    for row in conn.execute(following.order_by(_A.n).limit(count)):
        head = Head(row.n, chain.link(head.link, row._asdict()))
        links.append({"number": head.n, "link": head.link})
    if links:
        conn.execute(update(tables.audit).where(_A.n == bindparam("number")).values(hash=bindparam("link")), links)
        _put(conn, chain, head)
    return len(links), head


def held(conn: Connection, chain: Chain) -> Head:
    """Return the end of the chain, which nobody else moves before this transaction ends."""
    start = Head(0, _START)
    insert_ = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    new = insert_(tables.audit_head).values(tenant=chain.tenant, n=0, hash=_START, seal=chain.end(0, _START))
    conn.execute(new.on_conflict_do_nothing())
    row = conn.execute(select(_H.n, _H.hash).where(_H.tenant == chain.tenant).with_for_update()).first()
    return start if row is None else Head(*row)


def rewrite(conn: Connection, chain: Chain, rows: Iterable[tuple[int, Mapping[str, object]]]) -> int:
    """Change sealed or unsealed rows of a tenant, keeping the chain whole; return how many: only an erasure may."""
    held(conn, chain)
    return sum(_rewritten(conn, chain, n, changes) for n, changes in rows)


def _rewritten(conn: Connection, chain: Chain, n: int, changes: Mapping[str, object]) -> int:
    row = conn.execute(select(*tables.audit.c).where(_A.tenant == chain.tenant, _A.n == n)).mappings().first()
    if row is None:
        return 0
    values = dict(changes)
    if row["hash"] is not None:
        before = _before(conn, chain, n)
        values["erased"] = chain.remnant(before, {**row, **changes}, row["hash"])
    conn.execute(update(tables.audit).where(_A.n == n).values(values))
    return 1


def _before(conn: Connection, chain: Chain, n: int) -> str:
    earlier = select(_A.hash).where(_A.tenant == chain.tenant, _A.n < n).order_by(_A.n.desc()).limit(1)
    return conn.execute(earlier).scalar() or conn.execute(_start_of(chain.tenant)).scalar() or _START


def _start_of(tenant: str) -> Select[str]:
    return select(_H.start_hash).where(_H.tenant == tenant)


def shed(conn: Connection, chain: Chain, *, before_ms: int, count: int) -> int:
    """Take away up to `count` of the oldest rows, as far as all are older; the chain begins behind them from then on.

    Rows that are not sealed stay, and so do all that follow one that is younger; so does the last that is sealed:
    without it SQLite would give its number to another row.
    """
    head = held(conn, chain)
    oldest = select(_A.n, _A.hash, _A.at_ms).where(_A.tenant == chain.tenant, _A.n < head.n).order_by(_A.n)
    old = list(takewhile(lambda row: row.at_ms < before_ms, conn.execute(oldest.limit(count))))
    if old:
        last = old[-1]
        conn.execute(delete(tables.audit).where(_A.tenant == chain.tenant, _A.n <= last.n))
        begins = {"start_n": last.n, "start_hash": last.hash, "start_seal": chain.start(last.n, last.hash)}
        conn.execute(update(tables.audit_head).where(_H.tenant == chain.tenant).values(begins))
    return len(old)


def _put(conn: Connection, chain: Chain, head: Head) -> None:
    values = {"n": head.n, "hash": head.link, "seal": chain.end(head.n, head.link)}
    conn.execute(update(tables.audit_head).where(_H.tenant == chain.tenant).values(values))


def _told(row: Mapping[str, object]) -> str:
    return json.dumps([row[column.name] for column in _CONTENT], ensure_ascii=False)


# --- the proof ---------------------------------------------------------------------------


def broken(conn: Connection, chains: Iterable[Chain]) -> Iterator[Finding]:
    """Name each row, by its number, that was altered, moved, put in, or that follows one which was taken away."""
    reading = {chain.tenant: _Reading(chain, _head(conn, chain.tenant)) for chain in chains}
    for each in reading.values():
        yield from each.began()
    for row in _rows(conn):
        of = reading.get(row.tenant)
        if of is None:
            yield Finding(_ROWS, row.tenant, str(row.n))
        else:
            yield from of.take(row._asdict())
    for each in reading.values():
        yield from each.ended()


@dataclass
class _Reading:
    """One chain as it is read, row after row."""

    chain: Chain
    head: Mapping[str, object] | None
    link: str = _START
    n: int = 0
    waits: bool = False

    def began(self) -> Iterator[Finding]:
        """Begin behind the rows whose time is over, if it was the bridge that took them away."""
        if self.head is None or (self.head["start_n"], self.head["start_seal"]) == (0, None):
            return
        self.n, self.link = int(str(self.head["start_n"])), str(self.head["start_hash"])
        if not hmac.compare_digest(str(self.head["start_seal"]), self.chain.start(self.n, self.link)):
            yield Finding(_BEGINNING, self.chain.tenant, str(self.n))

    def take(self, row: Mapping[str, object]) -> Iterator[Finding]:
        link, n = row["hash"], int(str(row["n"]))
        if link is None and n > self._sealed_to():
            yield from self._late(row)
            return
        if link is None or not self._holds(row, str(link)):
            yield Finding(_ROWS, self.chain.tenant, str(n))
        if link is not None:
            self.link, self.n = str(link), n

    def _holds(self, row: Mapping[str, object], link: str) -> bool:
        if row["erased"] is None:
            return hmac.compare_digest(link, self.chain.link(self.link, row))
        return hmac.compare_digest(str(row["erased"]), self.chain.remnant(self.link, row, link))

    def _late(self, row: Mapping[str, object]) -> Iterator[Finding]:
        if not self.waits and int(str(row["at_ms"])) < now_ms() - LATE_MS:
            self.waits = True  # told once: all that follow wait as well
            yield Finding(_WAITS, self.chain.tenant, str(row["n"]))

    def _sealed_to(self) -> int:
        return 0 if self.head is None else int(str(self.head["n"]))

    def ended(self) -> Iterator[Finding]:
        head = self.head or {"n": 0, "hash": _START, "seal": self.chain.end(0, _START)}
        sealed = self.chain.end(int(str(head["n"])), str(head["hash"]))
        if (head["n"], head["hash"]) != (self.n, self.link) or head["seal"] != sealed:
            yield Finding(_END, self.chain.tenant, str(self.n))


def _head(conn: Connection, tenant: str) -> Mapping[str, object] | None:
    row = conn.execute(select(*tables.audit_head.c).where(_H.tenant == tenant)).first()
    return None if row is None else row._asdict()


def _rows(conn: Connection) -> Iterator[Row[tuple[object, ...]]]:
    after = _FIRST
    while rows := conn.execute(select(*tables.audit.c).where(_A.n > after).order_by(_A.n).limit(_PAGE)).all():
        yield from rows
        after = rows[-1].n
