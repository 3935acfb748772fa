"""What a tenant's recordings are admitted by, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fhir_bridge import clock
from fhir_bridge.store import budgets
from fhir_bridge.store.budgets import Audio, Waiting


class Later(clock.Clock):
    def __init__(self, days):
        self._days = days

    def now(self):
        return datetime.now(UTC) + timedelta(days=self._days)


def spend(base, media, ms, tenant="default"):
    return base.write(lambda conn: budgets.spend(conn, Audio(tenant, media, ms)))


def spent(base, tenant="default"):
    return base.read(lambda conn: budgets.spent(conn, tenant))


def test_a_recording_counts_once_for_its_tenant_and_its_day(base):
    base.tenant("north")

    assert [spend(base, "a", 100), spend(base, "b", 50), spend(base, "a", 100)] == [100, 150, 150]
    assert spend(base, "a", 7, "north") == 7
    assert (spent(base), spent(base, "north")) == (150, 7)
    with clock.use(Later(1)):
        assert spent(base) == 0
        assert spend(base, "c", 20) == 20


def test_past_days_are_forgotten_once_no_budget_needs_them(base):
    spend(base, "a", 100)

    with clock.use(Later(1)):
        assert base.write(budgets.forget) == 0
    with clock.use(Later(2)):
        assert base.write(budgets.forget) == 1
    assert spent(base) == 0


def test_the_day_turns_at_midnight_utc():
    assert 0 < budgets.seconds_left() <= 86_400


def test_recordings_wait_until_a_worker_has_them(base):
    base.tenant("north")
    first, _ = base.job(encounter="e"), base.job(encounter="e")
    base.job(tenant="north")
    base.job("interaction")
    assert base.read(lambda conn: budgets.waiting(conn, "default")) == Waiting(2, 3)

    base.claim(first)

    assert base.read(lambda conn: budgets.waiting(conn, "default")) == Waiting(1, 2)
    assert base.read(lambda conn: budgets.waiting(conn, "nobody")) == Waiting(0, 2)
