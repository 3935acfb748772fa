"""Resources written: versions in commit order, deletions, and values that may exist once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, NoReturn

from sqlalchemy import and_, bindparam, cast, delete, extract, func, insert, literal, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from fhir_bridge import clock
from fhir_bridge.errors import Forbidden, VersionConflict
from fhir_bridge.store import tables
from fhir_bridge.store.rows import key_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

Method = Literal["POST", "PUT", "DELETE"]
Key = tuple[int, str, str | None]  # param, val, high

_VERSION: Final = tables.version.c


@dataclass(frozen=True)
class NewVersion:
    """A resource to be written: its text around the place of versionId and lastUpdated, and its keys.

    `expect` is the vid the caller saw (If-Match); 0: nothing, or only a deletion, may be there.
    """

    type: str
    id: str
    before: str
    after: str
    keys: tuple[Key, ...]
    method: Method
    author: str | None
    expect: int | None = None


@dataclass(frozen=True)
class Row:
    """One version of a resource as it is stored; `body` is empty when the version is a deletion."""

    type: str
    id: str
    vid: int
    seq: int
    at_ms: int
    deleted: bool
    body: str
    author: str | None
    method: str

    @property
    def at(self) -> str:
        """meta.lastUpdated."""
        return instant(self.at_ms)


@dataclass(frozen=True)
class Once:
    """Whose a value is that may exist once, and of which content."""

    digest: str
    type: str
    id: str


def instant(at_ms: int) -> str:
    """Write milliseconds since 1970 as a FHIR instant."""
    return clock.instant_of(datetime.fromtimestamp(at_ms / 1000, UTC))


def put(conn: Connection, tenant: str, versions: Sequence[NewVersion], *, expect: int | None = None) -> tuple[Row, ...]:
    """Write versions, in this order, as one commit: all of them get the same lastUpdated.

    A version follows the current one of its resource, also when that is a deletion.
    `expect` stands for each version that names none itself.

    Raises:
        VersionConflict: the current version is not the expected one.
        Forbidden: there is no such tenant.
    """
    if not versions:
        return ()
    stamp = stamped(conn, tenant, len(versions))
    changes = _changes(_current(conn, tenant, [(new.type, new.id) for new in versions]), versions, stamp, expect)
    _close(conn, tenant, changes)
    conn.execute(insert(tables.version), [change.columns(tenant) for change in changes])
    keys = [row for change in changes for row in change.keys(tenant)]
    if keys:
        conn.execute(insert(tables.key), keys)
    return tuple(change.row for change in changes)


def remove(
    conn: Connection, tenant: str, type_: str, id_: str, *, author: str | None, expect: int | None = None
) -> Row | None:
    """Write a deletion, unless the resource is deleted already or never was; history stays (ruling 10).

    The deletion keeps the keys of what it deletes: who may see the resource may see
    that it is gone, and nobody else.

    Raises:
        VersionConflict: the current version is not the expected one.
    """
    hold(conn, tenant)
    there = _current(conn, tenant, [(type_, id_)]).get((type_, id_))
    if there is None or there.deleted:
        return None if expect is None else _conflict()
    keys = _keys(conn, tenant, there.seq)
    gone = NewVersion(type_, id_, "", "", keys, "DELETE", author, there.vid if expect is None else expect)
    return put(conn, tenant, (gone,))[0]


def once(conn: Connection, tenant: str, kind: str, val: str, *, mine: Once) -> Once | None:
    """Claim a value that may exist once; return whose it is already, or None when it is `mine` now.

    Of any number of racing writers exactly one gets None (reliability.md, rule 2).
    """
    hold(conn, tenant)
    t = tables.once
    insert_ = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    claim = insert_(t).values(tenant=tenant, kind=kind, val=val, digest=mine.digest, type=mine.type, id=mine.id)
    if conn.execute(claim.on_conflict_do_nothing().returning(t.c.id)).first() is not None:
        return None
    key = and_(t.c.tenant == tenant, t.c.kind == kind, t.c.val == val)
    return Once(*conn.execute(select(t.c.digest, t.c.type, t.c.id).where(key)).one())


def release(conn: Connection, tenant: str, holder: tuple[str, str]) -> None:
    """End the claims of a resource (type, id): before an update claims what it has now, and when it is deleted."""
    c = tables.once.c
    conn.execute(delete(tables.once).where(c.tenant == tenant, c.type == holder[0], c.id == holder[1]))


def hold(conn: Connection, tenant: str) -> None:
    """Lock the tenant's row before any other, where rows are locked one by one.

    Every transaction that writes takes this lock sooner or later. Taken first, no two
    can wait for each other crosswise.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(select(tables.tenant.c.id).where(tables.tenant.c.id == tenant).with_for_update())


@dataclass(frozen=True)
class Stamp:
    """The first commit number of a write, and the lastUpdated all of it gets."""

    seq: int
    at_ms: int


def stamped(conn: Connection, tenant: str, count: int) -> Stamp:
    """Take the next `count` commit numbers of a tenant and the time they are stamped with.

    The first statement of every resource or outbox write: the tenant's row is locked
    until COMMIT, so numbers have no gaps and both numbers and times grow in commit order.

    Raises:
        Forbidden: there is no such tenant.
    """
    c = tables.tenant.c
    if conn.dialect.name == "postgresql":
        # Lock first, read the clock after: who waited for the lock with an older time in
        # hand would stamp behind a barrier that a poll has already passed.
        held = select(c.id).where(c.id == tenant).with_for_update().cte("held")
        now = cast(func.floor(extract("epoch", func.clock_timestamp()) * 1000), c.at_ms.type)
        change = update(tables.tenant).where(c.id == held.c.id).values(at_ms=func.greatest(now, c.at_ms + 1))
    else:
        change = update(tables.tenant).where(c.id == tenant).values(at_ms=func.max(now_ms(), c.at_ms + 1))
    row = conn.execute(change.values(seq=c.seq + count).returning(c.seq, c.at_ms)).first()
    if row is None:
        raise Forbidden("There is no such tenant")
    return Stamp(row.seq - count + 1, row.at_ms)


def now_ms() -> int:
    """Return the wall-clock time as milliseconds since 1970."""
    return int(clock.now().timestamp() * 1000)


@dataclass(frozen=True)
class _Change:
    """A row to be inserted, what it closes, and what closes it when one write has two versions of one resource."""

    row: Row
    new: NewVersion
    closes: int | None
    until: int | None = None

    def columns(self, tenant: str) -> dict[str, object]:
        return {"tenant": tenant, "until": self.until, **vars(self.row)}

    def keys(self, tenant: str) -> list[dict[str, object]]:
        return key_rows(tenant, self.row.seq, self.new.keys)


def key_rows(tenant: str, seq: int, keys: Iterable[Key]) -> list[dict[str, object]]:
    """Return the rows that keep the keys of one version."""
    ends: dict[tuple[int, str], str | None] = {}
    for param, val, high in keys:
        place = (param, key_text(val))
        # Two ranges from one start become the longer of them; without an end is longest.
        ends[place] = high if place not in ends else _later(ends[place], high)
    return [
        {"tenant": tenant, "param": param, "val": val, "seq": seq, "high": high} for (param, val), high in ends.items()
    ]


def _later(one: str | None, other: str | None) -> str | None:
    return None if one is None or other is None else max(one, other)


def _changes(
    there: dict[tuple[str, str], Row], versions: Sequence[NewVersion], stamp: Stamp, expect: int | None
) -> list[_Change]:
    changes: dict[int, _Change] = {}
    for seq, new in enumerate(versions, stamp.seq):
        place = (new.type, new.id)
        before = there.get(place)
        wanted = expect if new.expect is None else new.expect
        if wanted is not None and wanted != (0 if before is None or before.deleted else before.vid):
            _conflict()
        row = _row_of(new, (before.vid if before else 0) + 1, seq, stamp.at_ms)
        if before is not None and before.seq in changes:
            changes[before.seq] = replace(changes[before.seq], until=seq)
            before = None
        changes[seq] = _Change(row, new, before.seq if before else None)
        there[place] = row
    return list(changes.values())


def _conflict() -> NoReturn:
    raise VersionConflict("The resource has another version than the one If-Match names; read it again")


def _row_of(new: NewVersion, vid: int, seq: int, at_ms: int) -> Row:
    deleted = new.method == "DELETE"
    meta = f'"versionId":"{vid}","lastUpdated":"{instant(at_ms)}"'
    body = "" if deleted else f"{new.before}{meta}{new.after}"
    return Row(new.type, new.id, vid, seq, at_ms, deleted, body, new.author, new.method)


def _close(conn: Connection, tenant: str, changes: Iterable[_Change]) -> None:
    closed = [{"old": change.closes, "new": change.row.seq} for change in changes if change.closes is not None]
    if closed:
        this = and_(_VERSION.tenant == tenant, _VERSION.seq == bindparam("old"))
        conn.execute(update(tables.version).where(this).values(until=bindparam("new")), closed)


def _current(conn: Connection, tenant: str, named: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Row]:
    """Return the current versions, deletions among them, without their text."""
    c = _VERSION
    columns = [literal("").label("body") if name == "body" else c[name] for name in Row.__dataclass_fields__]
    these = and_(c.tenant == tenant, c.until.is_(None), tuple_(c.type, c.id).in_(sorted(set(named))))
    found = conn.execute(select(*columns).where(these))
    return {(row.type, row.id): Row(*row) for row in found}


def _keys(conn: Connection, tenant: str, seq: int) -> tuple[Key, ...]:
    k = tables.key.c
    found = conn.execute(select(k.param, k.val, k.high).where(k.tenant == tenant, k.seq == seq))
    return tuple((row.param, row.val, row.high) for row in found)
