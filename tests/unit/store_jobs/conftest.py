"""Jobs in a migrated database of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

from fhir_bridge import clock
from fhir_bridge.settings import Settings
from fhir_bridge.store import Store, jobs, tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

T = TypeVar("T")
TENANT = "default"


class Base:
    """A store with shortcuts for its jobs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.url = store.url.render_as_string(hide_password=False)

    @classmethod
    def at(cls, url: str) -> Base:
        return cls(Store.open(Settings(database_url=url)).of_all())

    def of_all(self) -> Base:
        return self

    def write(self, fn: Callable[[Connection], T]) -> T:
        return self.store.write(fn)

    def read(self, fn: Callable[[Connection], T]) -> T:
        return self.store.read(fn)

    def job(self, kind: jobs.Kind = "media", *, encounter: str | None = None, tenant: str = TENANT) -> jobs.Job:
        new = jobs.NewJob(kind, tenant, encounter or clock.new_id(), clock.new_id(), clock.new_id())
        return self.write(lambda conn: jobs.create(conn, new))

    def tenant(self, name: str) -> None:
        self.write(lambda conn: conn.execute(tables.tenant.insert().values(id=name, audio_key="-")))

    def now(self, job: jobs.Job | str) -> jobs.Job:
        found = self.read(lambda conn: jobs.by_id(conn, job if isinstance(job, str) else job.id))
        assert found is not None
        return found

    def claim(self, job: jobs.Job, owner: str = "worker-1", lease: float = 30.0) -> jobs.Claim | None:
        got = self.write(lambda conn: jobs.claim(conn, job.ticket, owner=owner, lease_seconds=lease))
        return None if got is None else jobs.Claim(got.id, got.epoch, owner)


@pytest.fixture
def base(store: Store) -> Base:
    return Base(store)
