"""People at the door: what apps ask of them, who signed in, what EHRs launch, who tries too often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import case, delete, insert, not_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fhir_bridge.store import approvals
from fhir_bridge.store import tables_sign_in as tables
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from sqlalchemy import Connection

ASK_MS: Final = 10 * 60_000
LAUNCH_MS: Final = 5 * 60_000  # ruling 28
TRIES: Final = 5
LOCKED_MS: Final = 15 * 60_000
_SEEN_MS: Final = 60_000  # being seen is written down this often


@dataclass(frozen=True)
class Session:
    """Somebody who signed in; `body` says who."""

    digest: str
    tenant: str
    body: str
    began_ms: int
    seen_ms: int


@dataclass(frozen=True)
class Launch:
    """What an EHR has open; `body` says what."""

    digest: str
    tenant: str
    client: str
    body: str
    until_ms: int


_A, _S, _L, _F = tables.ask.c, tables.session.c, tables.launch.c, tables.sign_in_failure.c

# --- what apps ask -----------------------------------------------------------------------


def add_ask(conn: Connection, digest: str, body: str) -> None:
    """Keep what an app asks until the person has answered."""
    conn.execute(insert(tables.ask).values(digest=digest, body=body, until_ms=now_ms() + ASK_MS))


def take_up(conn: Connection, digest: str, browser: str) -> None:
    """Let what was asked belong to the browser that comes with it first."""
    conn.execute(update(tables.ask).where(_A.digest == digest, _A.browser.is_(None)).values(browser=browser))


def ask(conn: Connection, digest: str, browser: str) -> str | None:
    """Return what was asked, to the browser it belongs to."""
    found = select(_A.body).where(_A.digest == digest, _A.browser == browser, _A.until_ms > now_ms())
    return conn.execute(found).scalar()


def change_ask(conn: Connection, digest: str, body: str) -> None:
    """Note what the person chose on the way."""
    conn.execute(update(tables.ask).where(_A.digest == digest).values(body=body))


def end_ask(conn: Connection, digest: str) -> bool:
    """Forget what was asked, for it was answered; False: it was before."""
    return conn.execute(delete(tables.ask).where(_A.digest == digest)).rowcount == 1


# --- who signed in -----------------------------------------------------------------------


def begin_session(conn: Connection, new: Session, *, former: str) -> None:
    """Note who signed in, under a new cookie: one that was there before could be known to others."""
    end_session(conn, former)
    conn.execute(insert(tables.session).values(**vars(new)))
    conn.execute(update(tables.ask).where(_A.browser == former).values(browser=new.digest))


def session(conn: Connection, digest: str) -> Session | None:
    """Return who signed in, if that was not too long ago, nor the last that was heard of them."""
    found = select(_S.digest, _S.tenant, _S.body, _S.began_ms, _S.seen_ms)
    row = conn.execute(found.where(_S.digest == digest, approvals.present())).first()
    return Session(*row) if row else None


def see(conn: Connection, digest: str) -> None:
    """Note that somebody is still there, if they are."""
    now = now_ms()
    seen = update(tables.session).where(_S.digest == digest, _S.seen_ms < now - _SEEN_MS, approvals.present())
    conn.execute(seen.values(seen_ms=now))


def end_session(conn: Connection, digest: str) -> None:
    """Sign out, and end what was approved for as long as the person is there."""
    approvals.revoke_session(conn, digest)
    conn.execute(delete(tables.session).where(_S.digest == digest))


# --- what EHRs launch --------------------------------------------------------------------


def add_launch(conn: Connection, new: Launch) -> None:
    """Keep what an EHR has open."""
    conn.execute(insert(tables.launch).values(**vars(new)))


def launch(conn: Connection, digest: str) -> Launch | None:
    """Return what an EHR had open a moment ago, until that was used."""
    found = select(_L.digest, _L.tenant, _L.client, _L.body, _L.until_ms)
    row = conn.execute(found.where(_L.digest == digest, _L.until_ms > now_ms())).first()
    return Launch(*row) if row else None


def use_launch(conn: Connection, digest: str) -> bool:
    """Use up a launch; False: it was before."""
    return conn.execute(delete(tables.launch).where(_L.digest == digest)).rowcount == 1


# --- who tries too often -----------------------------------------------------------------


def attempt(conn: Connection, name: str) -> int:
    """Count an attempt to sign in, before it is judged; return for how many ms the name is locked, 0: it is not.

    Counted first, many attempts at once are as many as they are. Attempts in a name that is
    locked do not keep it locked.
    """
    now, t = now_ms(), tables.sign_in_failure
    new = postgresql.insert(t) if conn.dialect.name == "postgresql" else sqlite.insert(t)
    over, locked = _F.at_ms <= now - LOCKED_MS, _F.count >= TRIES
    counted = new.values(name=name, count=1, at_ms=now).on_conflict_do_update(
        index_elements=[_F.name],
        set_={
            "count": case((over, 1), else_=_F.count + 1),
            "at_ms": case((over, now), (locked, _F.at_ms), else_=now),
        },
    )
    count, at_ms = conn.execute(counted.returning(_F.count, _F.at_ms)).one()
    return int(at_ms) + LOCKED_MS - now if count > TRIES else 0


def succeeded(conn: Connection, name: str) -> None:
    """Forget the attempts before one that succeeded."""
    conn.execute(delete(tables.sign_in_failure).where(_F.name == name))


# --- upkeep ------------------------------------------------------------------------------


def forget(conn: Connection) -> int:
    """Delete what has come to its end; return how much that was."""
    now = now_ms()
    old = (
        delete(tables.ask).where(_A.until_ms < now),
        delete(tables.launch).where(_L.until_ms < now),
        delete(tables.session).where(not_(approvals.present())),
        delete(tables.sign_in_failure).where(_F.at_ms < now - LOCKED_MS),
    )
    return sum(conn.execute(each).rowcount for each in old)
