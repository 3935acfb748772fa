from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from joserfc.jwk import ECKey, KeySet
from werkzeug.serving import make_server

from fhir_bridge.sandbox.server import start
from fhir_bridge.settings import Settings

KEY = "a key for tests only"


@pytest.fixture
def corti():
    with start(engine="numbers") as sandbox:
        yield {
            "corti_api_url": sandbox.url,
            "corti_auth_url": sandbox.url,
            "corti_client_id": sandbox.client_id,
            "corti_client_secret": sandbox.client_secret,
        }


def failed(answer) -> dict[str, str]:
    return {trial["name"]: trial["text"] for trial in answer.json["trials"] if not trial["passed"]}


def test_all_is_well_where_corti_gives_a_token(run, corti):
    answer = run("check", **corti)

    assert answer.status == 0, answer.out
    assert "FAILED" not in answer.out


def test_every_setting_is_shown_with_its_source_and_no_secret(run, corti):
    Path(".env").write_text("CLIENT_SECRET=from the file\nTENANT_NAME=north\n")
    answer = run("check", "--json", secret_key="hush hush", **corti)

    shown = {row["setting"]: (row["value"], row["source"]) for row in answer.json["settings"]}
    assert len(shown) == len(Settings.model_fields)
    assert shown["FHIR_BRIDGE_CORTI_TENANT"] == ("north", ".env")
    assert shown["FHIR_BRIDGE_CORTI_CLIENT_SECRET"] == ("***", "environment")
    assert shown["FHIR_BRIDGE_SECRET_KEY"] == ("***", "environment")
    assert shown["FHIR_BRIDGE_LANGUAGE"] == ("en", "default")
    assert not any(word in answer.out for word in ("hush hush", corti["corti_client_secret"], "from the file"))


def test_the_password_of_a_database_url_is_not_shown(run):
    answer = run("check", database_url="postgresql+psycopg://me:hush@127.0.0.1:1/none")

    assert answer.status == 1
    assert "me:***@127.0.0.1" in answer.out
    assert "hush" not in answer.out
    assert "FAILED  database    FHIR_BRIDGE_DATABASE_URL: the database cannot be reached" in answer.out


def test_without_a_corti_account_the_remedy_is_told(run):
    answer = run("check", "--json")

    assert answer.status == 1
    assert failed(answer).keys() == {"corti"}
    assert "serve --sandbox" in failed(answer)["corti"]


def test_wrong_corti_credentials_are_told(run, corti):
    answer = run("check", "--json", **corti | {"corti_client_secret": "wrong"})

    assert answer.status == 1
    assert "check client id, client secret, tenant and environment" in failed(answer)["corti"]


def test_each_tenant_with_its_own_account_is_tried(run, corti, tmp_path):
    (tmp_path / "secret").write_text("wrong")
    arguments = ("--corti-client-id", "other", "--corti-client-secret-file", "secret")
    run("tenant", "add", "north", *arguments)

    assert run("check", **corti).status == 1


def test_a_key_that_does_not_open_what_is_stored_is_told(run, corti):
    run("migrate", secret_key="one")
    answer = run("check", "--json", secret_key="another", **corti)

    assert answer.status == 1
    assert "FHIR_BRIDGE_SECRET_KEY is not the one" in failed(answer)["keys"]


def test_signing_keys_are_tried_too(run, corti):
    run("rotate-keys")

    assert "1 signing keys open" in run("check", **corti).out


def test_a_database_of_another_version_is_told(run, corti, postgres_settings):
    answer = run("check", "--json", database_url=str(postgres_settings.database_url), secret_key="x", **corti)

    assert "database" not in failed(answer)
    assert "keys" in failed(answer)


def test_a_role_that_passes_through_the_wall_between_tenants_is_told_with_the_remedy(
    run, corti, postgres, postgres_settings
):
    above = postgres.get_uri("bridge").replace("postgresql://", "postgresql+psycopg://")

    ordinary = run("check", "--json", database_url=str(postgres_settings.database_url), secret_key=KEY, **corti)
    told = run("check", "--json", database_url=above, secret_key=KEY, **corti)

    assert (ordinary.status, told.status) == (0, 0), told.out
    assert "ordinary role" in database(told)
    assert "WARNING" not in database(ordinary)


def database(answer) -> str:
    return next(trial["text"] for trial in answer.json["trials"] if trial["name"] == "database")


def test_too_little_disk_is_told(run, corti):
    answer = run("check", "--json", min_free_bytes=str(2**60), **corti)

    assert "FHIR_BRIDGE_MIN_FREE_BYTES" in failed(answer)["disk"]


def test_an_audio_folder_that_cannot_be_used_is_told(run, corti):
    answer = run("check", "--json", audio_url="/proc/nowhere", **corti)

    assert failed(answer)["disk"].startswith("FHIR_BRIDGE_AUDIO_URL")


def test_a_data_folder_that_cannot_be_made_is_told(run, corti):
    answer = run("check", "--json", data_dir="/proc/nowhere", **corti)

    assert failed(answer)["database"] == "/proc/nowhere: No such file or directory"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://bridge.example.org", "must be an origin"),
        ("https://bridge.example.org/fhir", "must be an origin"),
        ("http://bridge.example.org", "plain http"),
    ],
)
def test_a_public_url_that_clients_could_not_use_is_told(run, corti, url, told):
    assert told in failed(run("check", "--json", public_url=url, **corti))["public url"]


@pytest.mark.parametrize("url", ["https://bridge.example.org", "http://localhost:8080", "http://127.0.0.1:9"])
def test_a_public_url_with_tls_or_on_loopback_will_do(run, corti, url):
    assert run("check", public_url=url, **corti).status == 0


def test_each_outside_issuer_is_asked_as_its_tokens_would_make_us_ask(run, corti):
    keys = KeySet([ECKey.generate_key("P-384", {"kid": "one"})]).as_dict(private=False)
    server = make_server("127.0.0.1", 0, _answering(json.dumps(keys | {"active": False})), threaded=True)
    _in_a_thread(server)
    url, away = f"http://127.0.0.1:{server.server_port}/", "http://127.0.0.1:1/"
    private = {"allow_private_endpoints": "true", **corti}

    def asked(*issuers: dict[str, str]):
        return run("check", "--json", trusted_issuers=json.dumps(issuers), **private)

    by_keys = {"issuer": "http://idp.example.org", "jwks_uri": url}
    by_asking = {"issuer": "http://two.example.org", "verify": "introspection", "introspection_endpoint": url}
    by_asking |= {"client_id": "bridge", "client_secret": "sesame"}
    good = asked(by_keys, by_asking)
    assert good.status == 0
    told = next(trial["text"] for trial in json.loads(good.out)["trials"] if trial["name"] == "issuers")
    assert told == "the bridge itself; http://idp.example.org: 1 keys; http://two.example.org: answers about tokens"
    assert "sesame" not in good.out
    assert "cannot be had" in failed(asked(by_keys | {"jwks_uri": away}))["issuers"]
    assert "does not answer" in failed(asked(by_asking | {"introspection_endpoint": away}))["issuers"]
    away_too = json.dumps([{"issuer": away, "client_id": "bridge"}])
    told = failed(run("check", "--json", sign_in_providers=away_too, **private))["issuers"]
    assert told == f"FHIR_BRIDGE_SIGN_IN_PROVIDERS: {away}: The issuer of the token does not answer"
    assert "opens north, which is no tenant here" in failed(asked(by_keys | {"tenant": "north"}))["issuers"]
    server.shutdown()
    server.server_close()


def test_the_environment_is_left_as_it_was(run):
    run("check", language="da")

    assert "FHIR_BRIDGE_LANGUAGE" not in os.environ


def _answering(text: str):
    def application(_environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [text.encode()]

    return application


def _in_a_thread(server) -> None:

    threading.Thread(target=server.serve_forever, daemon=True).start()
