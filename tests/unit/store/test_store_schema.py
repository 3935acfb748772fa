"""Migrations: a migrated database is the schema of tables.py, on both engines, however often it is run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from fhir_bridge import store as store_package
from fhir_bridge.errors import BadSetting
from fhir_bridge.keyring import KeyRing
from fhir_bridge.settings import Settings
from fhir_bridge.store import oauth, schema, tables
from fhir_bridge.store.engine import url_of


def _ours(name: str | None, kind: str, _) -> bool:
    """Leave out what DBOS and Alembic keep in the same file."""
    return kind != "table" or name in tables.metadata.tables


def test_the_revisions_make_what_the_tables_say(settings):
    engine = create_engine(url_of(settings))
    with engine.connect() as conn:
        options = {"compare_type": True, "compare_server_default": True, "include_name": _ours}
        assert compare_metadata(MigrationContext.configure(conn, opts=options), tables.metadata) == []
        assert _details(conn) == _details_of_tables(settings)
    engine.dispose()


def test_an_embedded_database_is_for_nobody_but_its_own_user(tmp_path):
    settings = Settings(data_dir=tmp_path / "data", secret_key="a key for tests only")
    schema.migrate(settings)
    with closing(store_package.Store.open(settings).of_all()) as store:
        store.read(oauth.tenants)
        modes = {path.suffix: path.stat().st_mode & 0o777 for path in settings.data_dir.glob("*.db*")}

    assert {".db", ".db-wal", ".db-shm"} <= set(modes)
    assert set(modes.values()) == {0o600}


def _details(conn) -> dict[str, object]:
    """What Alembic's comparison leaves out."""
    found = inspect(conn)
    if conn.dialect.name == "sqlite":
        rows = conn.execute(text("SELECT name, tbl_name, sql FROM sqlite_master WHERE sql <> ''"))
        ours = {name: sql for name, table, sql in rows if table in tables.metadata.tables}
        return {name: sorted("".join(sql.split()).lower().replace('"', "").split(",")) for name, sql in ours.items()}
    told: dict[str, object] = {}
    for name in tables.metadata.tables:
        columns = [
            (each["name"], str(each["type"]), each["nullable"], each["default"]) for each in found.get_columns(name)
        ]
        indexes = [tuple(sorted((k, str(v)) for k, v in each.items())) for each in found.get_indexes(name)]
        told[name] = (columns, sorted(indexes), found.get_pk_constraint(name), found.get_foreign_keys(name))
    return told


def _details_of_tables(settings: Settings) -> dict[str, object]:
    """The same of tables made from the metadata, in a database or a schema of their own."""
    url = url_of(settings)
    if url.get_backend_name() == "sqlite":
        engine = create_engine("sqlite://")
    else:
        engine = create_engine(url, connect_args={"options": "-c search_path=compared"})
    with engine.begin() as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(text("CREATE SCHEMA compared"))
        tables.metadata.create_all(conn)
        told = _details(conn)
        if conn.dialect.name == "postgresql":
            conn.execute(text("DROP SCHEMA compared CASCADE"))
    engine.dispose()
    return told


def test_text_is_compared_byte_by_byte_on_postgresql(postgres_settings):
    engine = create_engine(url_of(postgres_settings))
    with engine.connect() as conn:
        asked = """SELECT table_name, column_name FROM information_schema.columns
            WHERE table_schema = 'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"""
        assert conn.execute(text(asked)).all() == []
    engine.dispose()


def test_migrating_twice_and_at_once_changes_nothing(settings, store):
    before = store.read(oauth.tenants)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: schema.migrate(settings), range(3)))

    assert store.read(oauth.tenants) == before
    assert [tenant.id for tenant in before] == [schema.DEFAULT_TENANT]


def test_a_new_data_directory_is_made_with_its_key_and_its_tenant(tmp_path):
    settings = Settings(data_dir=tmp_path / "made %by% migrate" / "here")

    store_package.migrate(settings)

    store = store_package.Store.open(settings).of_all()
    tenant = store.read(lambda conn: oauth.tenant(conn, "default"))
    assert len(tenant.open_audio_key(KeyRing.open(settings))) == 32
    store.close()


@pytest.mark.parametrize(
    "url",
    ["mysql://127.0.0.1/x", "postgresql+nosuchdriver://127.0.0.1/x", "no url", "nosuch://x"],
)
def test_a_database_that_is_not_known_here_is_a_bad_setting(tmp_path, url):
    with pytest.raises(BadSetting) as caught:
        schema.migrate(Settings(data_dir=tmp_path, database_url=url))

    assert caught.value.at == "FHIR_BRIDGE_DATABASE_URL"


def test_a_database_of_another_version_is_refused(settings, store):
    schema.require_current(settings)
    assert not schema.is_empty(settings)
    [current] = store.read(lambda conn: conn.execute(text("SELECT version_num FROM alembic_version")).scalars().all())
    store.write(lambda conn: conn.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    try:
        with pytest.raises(BadSetting, match="migrate"):
            schema.require_current(settings)
    finally:
        back = text("UPDATE alembic_version SET version_num = :current").bindparams(current=current)
        store.write(lambda conn: conn.execute(back))


def test_a_database_that_was_never_migrated_is_empty(tmp_path):
    assert schema.is_empty(Settings(data_dir=tmp_path))
