"""What people approved: a code for each, the refresh tokens that follow it, and what was taken back."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import and_, delete, exists, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fhir_bridge.store import tables_sign_in as tables
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

Kind = Literal["code", "refresh"]
IDLE_MS: Final = 30 * 60_000  # a person of whom nothing was heard for so long is signed out,
SESSION_MS: Final = 12 * 3_600_000  # and so is one who signed in so long ago


@dataclass(frozen=True)
class Approval:
    """A person's yes to an app; `body` says to what, `code` is the digest of its code."""

    id: str
    tenant: str
    client: str
    person: str
    session: str | None
    body: str
    code: str
    code_until_ms: int
    until_ms: int
    code_used_ms: int | None = None
    revoked_ms: int | None = None


@dataclass(frozen=True)
class Ticket:
    """A code or refresh token that was found; `good` if it can be handed in, `used` if it was already."""

    digest: str
    kind: Kind
    approval: Approval
    good: bool
    used: bool
    until_ms: int


@dataclass(frozen=True)
class Refresh:
    """A new refresh token: its digest, and how long it counts."""

    digest: str
    until_ms: int


_T, _R, _S = tables.approval.c, tables.refresh_token.c, tables.session.c
_COLUMNS = tuple(_T[field.name] for field in fields(Approval))


def add(conn: Connection, new: Approval) -> None:
    """Keep what was approved."""
    conn.execute(insert(tables.approval).values(**vars(new)))


def by_id(conn: Connection, id_: str) -> Approval | None:
    """Return what was approved."""
    row = conn.execute(select(*_COLUMNS).where(_T.id == id_)).first()
    return Approval(*row) if row else None


def by_code(conn: Connection, digest: str) -> Ticket | None:
    """Find what a code was given for."""
    row = conn.execute(select(*_COLUMNS).where(_T.code == digest)).first()
    if row is None:
        return None
    found = Approval(*row)
    return _ticket(conn, digest, "code", (found, found.code_used_ms is not None, found.code_until_ms))


def by_refresh(conn: Connection, digest: str) -> Ticket | None:
    """Find what a refresh token was given for."""
    joined = select(_R.used_ms, _R.until_ms, *_COLUMNS).join_from(tables.approval, tables.refresh_token)
    row = conn.execute(joined.where(_R.digest == digest)).first()
    if row is None:
        return None
    return _ticket(conn, digest, "refresh", (Approval(*row[2:]), row[0] is not None, row[1]))


def _ticket(conn: Connection, digest: str, kind: Kind, found: tuple[Approval, bool, int]) -> Ticket:
    approval, used, until_ms = found
    good = not used and until_ms > now_ms() and approval.revoked_ms is None and _goes_on(conn, approval)
    return Ticket(digest, kind, approval, good, used, until_ms)


def _goes_on(conn: Connection, approval: Approval) -> bool:
    """Tell whether the person is still there, if access was given for as long as that."""
    there = exists().where(_S.digest == approval.session, present())
    return approval.session is None or bool(conn.execute(select(there)).scalar())


def present() -> ColumnElement[bool]:
    """Return the condition that somebody who signed in is still there."""
    return and_(_S.began_ms > now_ms() - SESSION_MS, _S.seen_ms > now_ms() - IDLE_MS)


def redeem(conn: Connection, kind: Kind, digest: str, *, approval: str, until_ms: int, refresh: Refresh | None) -> bool:
    """Use up a code or refresh token of an approval, with the refresh token that follows it.

    False: it was used before, by whomever; then all that came of it is revoked (RFC 6749 section 4.1.2,
    RFC 9700 section 4.14.2). Of many who try at once, one is heard. `until_ms` is when the access token ends.
    """
    if kind == "code":
        use = update(tables.approval).where(_T.code == digest, _T.code_used_ms.is_(None))
        done = conn.execute(use.values(code_used_ms=now_ms()))
    else:
        again = update(tables.refresh_token).where(_R.digest == digest, _R.used_ms.is_(None))
        done = conn.execute(again.values(used_ms=now_ms()))
    if done.rowcount != 1:
        revoke(conn, approval)
        return False
    if refresh is not None:
        conn.execute(insert(tables.refresh_token).values(approval=approval, **vars(refresh)))
    longest = max(until_ms, refresh.until_ms if refresh else 0)
    lasting = update(tables.approval).where(_T.id == approval, _T.until_ms < longest)
    conn.execute(lasting.values(until_ms=longest))
    still_there = select(_T.session).where(_T.id == approval).scalar_subquery()
    conn.execute(update(tables.session).where(_S.digest == still_there).values(seen_ms=now_ms()))
    return True


def revoke(conn: Connection, id_: str) -> None:
    """Take back all that came of an approval."""
    conn.execute(update(tables.approval).where(_T.id == id_, _T.revoked_ms.is_(None)).values(revoked_ms=now_ms()))


def revoke_session(conn: Connection, session: str) -> None:
    """Take back what was approved for as long as a person is there."""
    ended = update(tables.approval).where(_T.session == session, _T.revoked_ms.is_(None))
    conn.execute(ended.values(revoked_ms=now_ms()))


def revoke_token(conn: Connection, jti: str, until_ms: int) -> None:
    """Take back one access token; `until_ms` is when it ends anyway."""
    t = tables.revoked_token
    new = postgresql.insert(t) if conn.dialect.name == "postgresql" else sqlite.insert(t)
    conn.execute(new.values(jti=jti, until_ms=until_ms).on_conflict_do_nothing())


def is_revoked(conn: Connection, *, jti: str | None, approval: str | None) -> bool:
    """Tell whether an access token was taken back, by itself or with its approval."""
    by_itself = exists().where(tables.revoked_token.c.jti == jti)
    if approval is None:
        return bool(conn.execute(select(by_itself)).scalar())
    live = exists().where(_T.id == approval, _T.revoked_ms.is_(None))
    return not conn.execute(select(live & ~by_itself)).scalar()


def forget(conn: Connection, before_ms: int) -> int:
    """Delete what has come to its end before a time; return how much that was."""
    old = (
        delete(tables.refresh_token).where(_R.until_ms < before_ms),
        delete(tables.approval).where(_T.until_ms < before_ms),
        delete(tables.revoked_token).where(tables.revoked_token.c.until_ms < before_ms),
    )
    return sum(conn.execute(each).rowcount for each in old)
