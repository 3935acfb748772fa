"""What people leave in the store as they sign in, on both databases: kept as long as it counts, then forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from fhir_bridge import clock
from fhir_bridge.store import approvals, sign_in, tables_sign_in
from fhir_bridge.store.approvals import Approval, Refresh
from fhir_bridge.store.versions import now_ms

MINUTE = 60_000


class Later(clock.Clock):
    def __init__(self, minutes: float) -> None:
        self.minutes = minutes

    def now(self) -> datetime:
        return super().now() + timedelta(minutes=self.minutes)


def approve(store, id_="a", session=None):
    now = now_ms()
    new = Approval(id_, "default", "app", "holm", session, "{}", f"code-{id_}", now + MINUTE, now + MINUTE)
    store.write(lambda conn: approvals.add(conn, new))


def redeem(store, id_, kind, digest, refresh=None):
    following = Refresh(refresh, now_ms() + 60 * MINUTE) if refresh else None
    return store.write(
        lambda conn: approvals.redeem(
            conn, kind, digest, approval=id_, until_ms=now_ms() + 5 * MINUTE, refresh=following
        )
    )


def rows(store):
    found = {name: table for name, table in tables_sign_in.metadata.tables.items() if name in NAMES}
    return {
        name: store.read(lambda conn, t=table: conn.execute(select(func.count()).select_from(t)).scalar())
        for name, table in found.items()
    }


NAMES = {"ask", "session", "sign_in_failure", "launch", "approval", "refresh_token", "revoked_token"}


def fill(store):
    now = now_ms()
    approve(store)
    assert redeem(store, "a", "code", "code-a", "r1")
    session = sign_in.Session("s", "default", "{}", now, now)
    launch = sign_in.Launch("l", "default", "ehr", "{}", now + sign_in.LAUNCH_MS)
    store.write(lambda conn: sign_in.add_ask(conn, "q", "{}"))
    store.write(lambda conn: sign_in.begin_session(conn, session, former="none"))
    store.write(lambda conn: sign_in.add_launch(conn, launch))
    store.write(lambda conn: sign_in.attempt(conn, "holm"))
    store.write(lambda conn: approvals.revoke_token(conn, "jti", now + 5 * MINUTE))
    store.write(lambda conn: approvals.revoke_token(conn, "jti", now + 5 * MINUTE))  # twice is as good as once


def forget(store):
    ended = now_ms()
    return store.write(lambda conn: sign_in.forget(conn) + approvals.forget(conn, ended))


def test_everything_is_forgotten_at_its_end_and_not_before(store):
    fill(store)
    assert rows(store) == dict.fromkeys(NAMES, 1)
    assert forget(store) == 0
    with clock.use(Later(6)):
        assert forget(store) == 2
        assert {name for name, count in rows(store).items() if not count} == {"launch", "revoked_token"}
    with clock.use(Later(61)):
        assert forget(store) == 5
    assert not any(rows(store).values())


def test_an_approval_lives_as_long_as_its_last_token(store):
    approve(store)
    redeem(store, "a", "code", "code-a", "r1")
    with clock.use(Later(50)):
        assert redeem(store, "a", "refresh", "r1", "r2")
    with clock.use(Later(100)):
        assert store.write(lambda conn: approvals.forget(conn, now_ms())) == 1  # r1
        assert store.read(lambda conn: approvals.by_refresh(conn, "r2")).good


def test_a_ticket_tells_whether_it_is_good_and_whether_it_was_used(store):
    approve(store)
    assert store.read(lambda conn: approvals.by_code(conn, "nothing")) is None
    assert store.read(lambda conn: approvals.by_refresh(conn, "nothing")) is None
    assert store.read(lambda conn: approvals.by_id(conn, "nothing")) is None
    found = store.read(lambda conn: approvals.by_code(conn, "code-a"))
    assert (found.good, found.used) == (True, False)
    with clock.use(Later(2)):
        assert not store.read(lambda conn: approvals.by_code(conn, "code-a")).good

    assert redeem(store, "a", "code", "code-a", "r1")
    assert not redeem(store, "a", "code", "code-a", "r9")
    found = store.read(lambda conn: approvals.by_code(conn, "code-a"))
    assert (found.good, found.used) == (False, True)
    found = store.read(lambda conn: approvals.by_refresh(conn, "r1"))
    assert (found.good, found.used) == (False, False)  # revoked with the rest
    assert store.read(lambda conn: approvals.by_refresh(conn, "r9")) is None


@pytest.mark.parametrize("way", ["silence", "sign-out"])
def test_what_was_given_for_as_long_as_a_person_is_there_ends_with_them(store, way):
    now = now_ms()
    store.write(lambda conn: sign_in.begin_session(conn, sign_in.Session("s", "default", "{}", now, now), former="x"))
    approve(store, session="s")
    redeem(store, "a", "code", "code-a", "r1")
    assert store.read(lambda conn: approvals.by_refresh(conn, "r1")).good
    if way == "sign-out":
        store.write(lambda conn: sign_in.end_session(conn, "s"))
        assert not store.read(lambda conn: approvals.by_refresh(conn, "r1")).good
        assert store.read(lambda conn: approvals.is_revoked(conn, jti="j", approval="a"))
    else:
        with clock.use(Later(31)):
            assert not store.read(lambda conn: approvals.by_refresh(conn, "r1")).good


def test_an_access_token_is_taken_back_by_itself_or_with_its_approval(store):
    approve(store)

    def is_revoked(**which):
        return store.read(lambda conn: approvals.is_revoked(conn, **which))

    assert not is_revoked(jti="j", approval="a")
    assert not is_revoked(jti="j", approval=None)
    assert is_revoked(jti="j", approval="unknown")
    store.write(lambda conn: approvals.revoke_token(conn, "j", now_ms() + MINUTE))
    assert is_revoked(jti="j", approval=None)
    assert is_revoked(jti="j", approval="a")
    assert not is_revoked(jti="k", approval="a")
    store.write(lambda conn: approvals.revoke(conn, "a"))
    assert is_revoked(jti="k", approval="a")


def test_being_seen_is_written_down_and_keeps_a_session(store):
    now = now_ms()
    store.write(lambda conn: sign_in.begin_session(conn, sign_in.Session("s", "default", "{}", now, now), former="x"))
    with clock.use(Later(20)):
        store.write(lambda conn: sign_in.see(conn, "s"))
    with clock.use(Later(45)):
        assert store.read(lambda conn: sign_in.session(conn, "s"))
    with clock.use(Later(13 * 60)):
        store.write(lambda conn: sign_in.see(conn, "s"))
        assert store.read(lambda conn: sign_in.session(conn, "s")) is None  # it began too long ago
