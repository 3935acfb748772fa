from __future__ import annotations

import pytest

from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import Store, oauth


def test_a_tenant_has_its_own_way_to_corti_whose_secret_is_stored_wrapped(run, tmp_path, sqlite_settings):
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    environment = {"data_dir": str(sqlite_settings.data_dir), "secret_key": "a key for tests only"}
    account = ("--corti-client-id", "id", "--corti-client-secret-file", str(secret))
    place = ("--corti-environment", "us", "--corti-tenant", "north-tenant")

    made = run("tenant", "add", "north", *place, *account, **environment).json

    store = Store.open(sqlite_settings).of_all()
    kept = store.read(lambda conn: oauth.tenant(conn, "north"))
    store.close()
    assert made == {"tenant": "north"}
    assert (kept.corti_environment, kept.corti_tenant, kept.corti_client_id) == ("us", "north-tenant", "id")
    assert "hush" not in str(kept)
    assert kept.open_corti_secret(KeyRing.open(sqlite_settings)) == "hush"


def test_the_tenant_default_exists(run):
    assert [one["tenant"] for one in run("tenant", "list", "--json").json] == ["default"]
    assert "default" in run("tenant", "list").out


def test_a_name_is_taken_once(run):
    run("tenant", "add", "north")
    answer = run("tenant", "add", "north")

    assert (answer.status, answer.err) == (1, "fhir-bridge: There is a tenant north already\n")


@pytest.mark.parametrize("name", ["", "a b", "../up", "-x", "a" * 64])
def test_a_name_that_cannot_be_part_of_a_url_is_refused(run, name):
    assert run("tenant", "add", "--", name).status == 2


def test_an_environment_that_cannot_be_part_of_a_host_is_refused(run):
    answer = run("tenant", "add", "north", "--corti-environment", "evil.example/")

    assert answer.status == 2
    assert "CORTI_ENVIRONMENT" in answer.err


def test_a_client_id_needs_its_secret(run):
    answer = run("tenant", "add", "north", "--corti-client-id", "id")

    assert answer.status == 2
    assert "--corti-client-secret-file" in answer.err


def test_a_secret_file_that_is_missing_is_named(run, tmp_path):
    arguments = ("--corti-client-id", "id", "--corti-client-secret-file", str(tmp_path / "none"))
    answer = run("tenant", "add", "north", *arguments)

    assert answer.status == 1
    assert str(tmp_path / "none") in answer.err


def test_a_tenant_keeps_types_for_a_time_of_its_own(run):
    run("tenant", "add", "north")

    answer = run("tenant", "keep", "north", "DocumentReference=365", "Observation=ever")

    days = {"DocumentReference": 365, "Observation": None}
    assert answer.json == {"tenant": "north", "retention_days": days}
    assert [one["retention_days"] for one in run("tenant", "list", "--json").json] == [{}, days]
    assert run("tenant", "keep", "north").json["retention_days"] == {}


@pytest.mark.parametrize("time", ["Encounter=1", "Media", "Media=0", "Media=soon", "Media=-1", "=3"])
def test_a_time_that_cannot_be_kept_is_refused(run, time):
    answer = run("tenant", "keep", "default", "--", time)

    assert answer.status == 2
    assert "DocumentReference=365" in answer.err


def test_a_tenant_that_is_not_there_keeps_nothing(run):
    assert run("tenant", "keep", "south", "Media=1").err == "fhir-bridge: There is no tenant south\n"
