"""The second wall: what a forgotten predicate would show or change of another tenant (docs/decisions/0019)."""

from __future__ import annotations

from contextlib import closing

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import ProgrammingError

from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import Store, oauth, tables, walls
from fhir_bridge.store.columns import metadata
from fhir_bridge.store.engine import engine_of, url_of

NOBODYS = {"seen_jti", "signing_key", "ask", "sign_in_failure", "revoked_token"}
POLICIES = text("""
    SELECT c.relname FROM pg_policies p JOIN pg_class c ON c.relname = p.tablename
    WHERE c.relrowsecurity AND c.relforcerowsecurity AND p.qual IS NOT NULL AND p.with_check IS NOT NULL
""")


@pytest.fixture
def house(postgres_settings):
    with closing(Store.open(postgres_settings)) as opened:
        ring = KeyRing.open(postgres_settings)
        opened.of_all().write(lambda conn: oauth.add_tenant(conn, oauth.new_tenant("other", ring)))
        yield opened


def spent(tenant):
    return insert(tables.audio_spent).values(tenant=tenant, media="m", day=1, ms=1)


def test_each_table_has_a_policy_or_is_known_to_be_nobodys(house):
    walled = set(house.of_all().read(lambda conn: conn.execute(POLICIES).scalars().all()))

    assert walled == set(metadata.tables) - NOBODYS


def test_a_query_without_a_predicate_sees_its_own_tenant_alone(house):
    house.of("default").write(lambda conn: conn.execute(spent("default")))
    house.of("other").write(lambda conn: conn.execute(spent("other")))
    everything = select(tables.audio_spent.c.tenant)

    seen = {
        each: house.of(each).read(lambda conn: conn.execute(everything).scalars().all())
        for each in ("default", "other")
    }

    assert seen == {"default": ["default"], "other": ["other"]}
    assert len(house.of_all().read(lambda conn: conn.execute(everything).all())) == 2


def test_another_tenants_row_is_neither_inserted_nor_changed(house):
    house.of("other").write(lambda conn: conn.execute(spent("other")))

    with pytest.raises(ProgrammingError, match="row-level security"):
        house.of("default").write(lambda conn: conn.execute(spent("other")))
    changed = house.of("default").write(lambda conn: conn.execute(update(tables.audio_spent).values(ms=9)).rowcount)

    assert changed == 0


def test_who_does_not_say_whose_rows_are_meant_gets_none(house, postgres_settings):
    engine = engine_of(url_of(postgres_settings))
    with closing(engine.raw_connection()), engine.connect() as connection:
        assert connection.execute(select(tables.tenant.c.id)).all() == []
    engine.dispose()
    with pytest.raises(RuntimeError, match="whose rows"):
        house.read(oauth.tenants)


@pytest.mark.usefixtures("house")
def test_a_tenant_that_was_said_is_forgotten_with_the_transaction(postgres_settings):
    engine = engine_of(url_of(postgres_settings))
    with engine.connect() as connection:
        with connection.begin():
            walls.bind(connection, "default")
            assert connection.execute(select(tables.tenant.c.id)).scalars().all() == ["default"]
        assert connection.execute(select(tables.tenant.c.id)).all() == []
    engine.dispose()


@pytest.mark.usefixtures("house")
def test_a_process_of_the_release_before_which_sets_nothing_goes_on(postgres_settings):
    from psycopg import connect  # noqa: PLC0415 - only this one leaves the store aside

    url = url_of(postgres_settings).set(drivername="postgresql").render_as_string(hide_password=False)
    with connect(url) as former:
        assert len(former.execute("SELECT id FROM tenant").fetchall()) == 2


def test_the_role_of_the_bridge_is_not_above_the_wall(house):
    assert not house.of_all().read(walls.is_escaped)
