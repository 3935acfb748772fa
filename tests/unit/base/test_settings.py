"""Settings as public-interface.md promises them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from fhir_bridge import settings
from fhir_bridge.errors import BadSetting
from fhir_bridge.settings import Settings
from fhir_bridge.trusted import TrustedIssuer


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch, tmp_path):
    """No variable, no .env of whoever runs the tests."""
    for name in list(settings.os.environ):
        if name.startswith("FHIR_BRIDGE_") or name in settings.CORTI_EXAMPLE_NAMES:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def dotenv(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / ".env"
        path.write_text(text)
        return path

    return write


def refusal(**given) -> BadSetting:
    with pytest.raises(BadSetting) as refused:
        settings.load(**given)
    return refused.value


# The table of public-interface.md, and the limits of rulings 6, 14, 16, 19 and 32.
DEFAULTS = {
    "public_url": None,
    "data_dir": Path("data"),
    "database_url": None,
    "audio_url": None,
    "audio_options": None,
    "secret_key": None,
    "corti_environment": "eu",
    "corti_tenant": "base",
    "corti_client_id": None,
    "corti_client_secret": None,
    "corti_api_url": None,
    "corti_auth_url": None,
    "corti_timeout_seconds": 30.0,
    "corti_give_up_hours": 24.0,
    "corti_failures": 5,
    "transport": "stream",
    "stream_pace": 1.0,
    "language": "en",
    "unique_identifiers": True,
    "audio_hosts": (),
    "allow_private_endpoints": False,
    "trusted_proxies": (),
    "trusted_issuers": (),
    "built_in_issuer": True,
    "sign_in_providers": (),
    "max_inline_audio_bytes": 150 * 2**20,
    "max_inline_document_bytes": 10 * 2**20,
    "max_binary_bytes": 2**30,
    "max_json_bytes": 5 * 2**20,
    "max_transaction_bytes": 20 * 2**20,
    "max_transaction_entries": 500,
    "page_size": 50,
    "max_page_size": 200,
    "min_free_bytes": 256 * 2**20,
    "web_bodies": 14,
    "tenant_bodies": 12,
    "max_waiting": 20_000,
    "tenant_waiting": 5_000,
    "tenant_audio_minutes_per_day": None,
    "audio_retention_hours": 24.0,
    "retention_days": {},
    "lease_seconds": 30.0,
    "worker_streams": 20,
    "max_streams": 100,
    "tenant_streams": None,
    "interactions_per_minute": None,
    "token_seconds": 300,
    "refresh_days": 90,
    "sandbox_model_dir": None,
}


def test_every_setting_has_the_default_that_is_promised():
    assert settings.load().model_dump() == DEFAULTS


def test_every_setting_has_one_line_of_help():
    helps = [field.description for field in Settings.model_fields.values()]

    assert all(text and "\n" not in text for text in helps)


def test_every_setting_is_read_from_the_environment(monkeypatch):
    given = {
        "PUBLIC_URL": "https://bridge.example",
        "DATA_DIR": "/srv/bridge",
        "DATABASE_URL": "postgresql+psycopg://bridge@db/bridge",
        "AUDIO_URL": "s3://audio",
        "CORTI_ENVIRONMENT": "us",
        "CORTI_TENANT": "hospital",
        "CORTI_CLIENT_ID": "id",
        "CORTI_CLIENT_SECRET": "sesame",
        "CORTI_API_URL": "https://api.proxy.example",
        "CORTI_AUTH_URL": "https://auth.proxy.example",
        "CORTI_TIMEOUT_SECONDS": "5",
        "CORTI_GIVE_UP_HOURS": "1.5",
        "TRANSPORT": "auto",
        "STREAM_PACE": "4",
        "LANGUAGE": "da",
        "UNIQUE_IDENTIFIERS": "false",
        "AUDIO_HOSTS": '["media.example"]',
        "ALLOW_PRIVATE_ENDPOINTS": "true",
        "TRUSTED_PROXIES": '["10.0.0.1", "10.0.0.2"]',
        "TRUSTED_ISSUERS": '[{"issuer": "https://id.example", "audience": "bridge"}]',
        "RETENTION_DAYS": '{"DocumentReference": 365}',
        "LEASE_SECONDS": "3",
        "PAGE_SIZE": "10",
        "SANDBOX_MODEL_DIR": "/models",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"FHIR_BRIDGE_{name}", value)

    read = settings.load()

    assert read.data_dir == Path("/srv/bridge")
    assert (read.stream_pace, read.corti_give_up_hours, read.page_size) == (4.0, 1.5, 10)
    assert (read.unique_identifiers, read.allow_private_endpoints) == (False, True)
    assert read.retention_days == {"DocumentReference": 365}
    assert read.trusted_proxies == ("10.0.0.1", "10.0.0.2")
    assert read.trusted_issuers == (TrustedIssuer(issuer="https://id.example", audience=("bridge",)),)
    assert read.corti_client_secret.get_secret_value() == "sesame"
    assert {name for name, source in settings.sources().items() if source == "environment"} == {
        name.lower() for name in given
    }


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(monkeypatch, dotenv):
    path = dotenv("FHIR_BRIDGE_LANGUAGE=fr\nFHIR_BRIDGE_TRANSPORT=recording\n")
    monkeypatch.setenv("FHIR_BRIDGE_LANGUAGE", "da")

    read, sources = settings.load(path), settings.sources(path)

    assert (read.language, read.transport, read.stream_pace) == ("da", "recording", 1.0)
    assert (sources["language"], sources["transport"], sources["stream_pace"]) == ("environment", ".env", "default")


def test_the_file_is_the_one_in_the_working_directory_unless_told_otherwise(dotenv):
    dotenv("FHIR_BRIDGE_LANGUAGE=fr\n")

    assert settings.load().language == "fr"
    assert settings.load(None).language == "en"
    assert settings.sources(None)["language"] == "default"


def test_a_dotenv_made_for_cortis_example_works(dotenv):
    path = dotenv("CLIENT_ID=id\nCLIENT_SECRET='se same'\nTENANT_NAME=hospital\nENVIRONMENT=us\nUNRELATED=x\nEMPTY\n")

    read = settings.load(path)

    assert (read.corti_client_id, read.corti_tenant, read.corti_environment) == ("id", "hospital", "us")
    assert read.corti_client_secret.get_secret_value() == "se same"
    assert settings.sources(path)["corti_client_id"] == ".env"


def test_cortis_example_names_mean_nothing_in_the_process_environment(monkeypatch):
    for name in ("CLIENT_ID", "CLIENT_SECRET", "TENANT_NAME", "ENVIRONMENT"):
        monkeypatch.setenv(name, "production")

    assert settings.load().model_dump() == DEFAULTS


@pytest.mark.parametrize(
    "order", ["CLIENT_ID={}\nFHIR_BRIDGE_CORTI_CLIENT_ID={}", "FHIR_BRIDGE_CORTI_CLIENT_ID={1}\nCLIENT_ID={0}"]
)
def test_the_bridges_own_name_wins_over_cortis_example_in_one_file(dotenv, order):
    assert settings.load(dotenv(order.format("alias", "own"))).corti_client_id == "own"


def test_a_secret_may_stand_in_a_file(monkeypatch, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("sesame\n")
    monkeypatch.setenv("FHIR_BRIDGE_CORTI_CLIENT_SECRET_FILE", str(secret))
    monkeypatch.setenv("FHIR_BRIDGE_SECRET_KEY_FILE", str(secret))

    read = settings.load()

    assert read.corti_client_secret.get_secret_value() == read.secret_key.get_secret_value() == "sesame"
    assert settings.sources()["secret_key"] == "environment"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe\x00"])
def test_a_file_that_holds_no_secret_is_named_with_its_variable(monkeypatch, tmp_path, content):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("FHIR_BRIDGE_SECRET_KEY_FILE", str(path))

    refused = refusal()

    assert refused.at == "FHIR_BRIDGE_SECRET_KEY_FILE"
    assert "FHIR_BRIDGE_SECRET_KEY_FILE" in refused.text


def test_a_secret_given_twice_is_refused_rather_than_guessed(monkeypatch, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("one")
    monkeypatch.setenv("FHIR_BRIDGE_SECRET_KEY_FILE", str(secret))
    monkeypatch.setenv("FHIR_BRIDGE_SECRET_KEY", "two")

    assert refusal().at == "FHIR_BRIDGE_SECRET_KEY_FILE"


def test_the_database_url_may_stand_in_a_file_because_it_holds_a_password(monkeypatch, tmp_path):
    path = tmp_path / "url"
    path.write_text("postgresql+psycopg://bridge:sesame@db/bridge\n")
    monkeypatch.setenv("FHIR_BRIDGE_DATABASE_URL_FILE", str(path))

    assert settings.load().database_url == "postgresql+psycopg://bridge:sesame@db/bridge"


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("FHIR_BRIDGE_CORTI_TENNANT", "FHIR_BRIDGE_CORTI_TENANT"),
        ("FHIR_BRIDGE_TRANSPORTS", "FHIR_BRIDGE_TRANSPORT"),
        ("FHIR_BRIDGE_LANGUAGE_FILE", "FHIR_BRIDGE_LANGUAGE"),
        ("FHIR_BRIDGE_SECRET_FILE", "FHIR_BRIDGE_SECRET_KEY_FILE"),
        ("FHIR_BRIDGE_CLIENT_ID", "FHIR_BRIDGE_CORTI_CLIENT_ID"),
        ("FHIR_BRIDGE_", "FHIR_BRIDGE_"),
        ("FHIR_BRIDGE_ZZZ", "FHIR_BRIDGE_"),
    ],
)
def test_an_unknown_name_is_an_error_that_names_the_nearest(monkeypatch, dotenv, wrong, nearest):
    in_file = refusal(dotenv=dotenv(f"{wrong}=x\n"))
    monkeypatch.setenv(wrong, "x")
    in_environment = refusal(dotenv=None)

    for refused in (in_file, in_environment):
        assert refused.at == wrong
        assert f"did you mean {nearest}" in refused.text


@pytest.mark.parametrize("wrong", ["365", "[1]", "{", '{"Encounter": 1}', '{"Media": 0}', '{"Media": "long"}'])
def test_times_that_cannot_be_kept_are_refused_and_named(monkeypatch, wrong):
    monkeypatch.setenv("FHIR_BRIDGE_RETENTION_DAYS", wrong)

    assert refusal().at == "FHIR_BRIDGE_RETENTION_DAYS"


def test_an_unknown_name_is_an_error_even_when_it_is_empty(monkeypatch):
    monkeypatch.setenv("FHIR_BRIDGE_TRANSPROT", "")

    assert refusal().at == "FHIR_BRIDGE_TRANSPROT"


def test_an_empty_value_counts_as_not_given(monkeypatch, dotenv):
    monkeypatch.setenv("FHIR_BRIDGE_LANGUAGE", "")

    assert settings.load(dotenv("FHIR_BRIDGE_LANGUAGE=fr\n")).language == "fr"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STREAM_PACE", "fast"),
        ("STREAM_PACE", "0.0"),
        ("PAGE_SIZE", "-7"),
        ("STREAM_PACE", "-1"),
        ("TRANSPORT", "pigeon"),
        ("UNIQUE_IDENTIFIERS", "perhaps"),
        ("PAGE_SIZE", "1.5"),
        ("AUDIO_HOSTS", "media.example"),
        ("AUDIO_HOSTS", '["media.example"'),
        ("TRUSTED_ISSUERS", '["not an object"]'),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_setting(monkeypatch, name, value):
    monkeypatch.setenv(f"FHIR_BRIDGE_{name}", value)

    refused = refusal()

    assert refused.at == f"FHIR_BRIDGE_{name}"
    assert refused.text.startswith(f"FHIR_BRIDGE_{name}: ")
    assert value not in refused.text


def test_no_secret_is_shown_when_settings_are_printed(monkeypatch):
    monkeypatch.setenv("FHIR_BRIDGE_SECRET_KEY", "sesame")
    monkeypatch.setenv("FHIR_BRIDGE_CORTI_CLIENT_SECRET", "sesame")

    read = settings.load()

    assert "sesame" not in f"{read} {read!r} {read.model_dump_json()}"
    assert set(settings.SECRETS) == {"secret_key", "corti_client_secret", "audio_options"}


ASKED = {"issuer": "https://id.example", "verify": "introspection", "client_id": "bridge"}
REFUSED_ISSUERS = {
    "not a list": ({"issuer": "https://id.example"}, "valid tuple"),
    "no issuer": ([{}], "0.issuer: Field required"),
    "an unknown member": ([{"issuer": "https://id.example", "jwks": "https://id.example"}], "0.jwks: "),
    "an algorithm with a shared secret": (
        [{"issuer": "https://id.example", "algorithms": "HS256"}],
        "0.algorithms.0: ",
    ),
    "no algorithm": ([{"issuer": "https://id.example", "algorithms": "none"}], "0.algorithms.0: "),
    "an empty list of algorithms": ([{"issuer": "https://id.example", "algorithms": []}], "0.algorithms: "),
    "no URL": ([{"issuer": "id.example"}], "0.issuer: "),
    "a URL of another scheme": ([{"issuer": "file:///etc/passwd"}], "0.issuer: "),
    "a URL with a user part": ([{"issuer": "https://a@id.example"}], "0.issuer: "),
    "a URL with a fragment": ([{"issuer": "https://id.example#x"}], "0.issuer: "),
    "a URL with half an address": ([{"issuer": "https://[::1"}], "0.issuer: "),
    "plain http": ([{"issuer": "http://id.example"}], "https URLs only"),
    "keys by plain http": ([{"issuer": "https://id.example", "jwks_uri": "http://id.example"}], "https URLs only"),
    "an answer believed for hours": ([{"issuer": "https://id.example", "cache_seconds": 3600}], "0.cache_seconds: "),
    "introspection without a secret": ([ASKED], "introspection needs client_id"),
    "two secrets": ([ASKED | {"client_secret": "sesame", "client_secret_file": "/s"}], "keep one"),
    "no audience for signed tokens": ([{"issuer": "https://id.example", "audience": []}], "for introspection only"),
    "one twice": ([{"issuer": "https://id.example"}] * 2, "there twice"),
    "one twice with audiences that overlap": (
        [{"issuer": "https://id.example", "audience": each} for each in (["a", "b"], "b")],
        "there twice",
    ),
    "one twice, verified in two ways": (
        [{"issuer": "https://id.example", "audience": "a"}, ASKED | {"audience": "b", "client_secret": "sesame"}],
        "there twice",
    ),
}


@pytest.mark.parametrize("what", REFUSED_ISSUERS)
def test_an_issuer_that_cannot_be_trusted_safely_is_refused_by_its_place(monkeypatch, what):
    given, told = REFUSED_ISSUERS[what]
    monkeypatch.setenv("FHIR_BRIDGE_TRUSTED_ISSUERS", json.dumps(given))

    refused = refusal()

    assert refused.at == "FHIR_BRIDGE_TRUSTED_ISSUERS"
    assert told in refused.text
    assert "sesame" not in refused.text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([{"issuer": "https://id.example"}], "0.client_id: Field required"),
        ([{"issuer": "http://id.example", "client_id": "bridge"}], "https URLs only"),
        ([{"issuer": "https://id.example", "client_id": "a", "audience": "b"}], "0.audience: "),
        ([{"issuer": f"https://{each}.example", "client_id": "bridge"} for each in "ab"], "a tenant has two"),
    ],
)
def test_a_provider_that_people_cannot_sign_in_at_safely_is_refused(monkeypatch, given, told):
    monkeypatch.setenv("FHIR_BRIDGE_SIGN_IN_PROVIDERS", json.dumps(given))

    refused = refusal()

    assert refused.at == "FHIR_BRIDGE_SIGN_IN_PROVIDERS"
    assert told in refused.text


def test_each_tenant_may_have_its_provider(monkeypatch):
    given = [{"issuer": "https://id.example", "client_id": "bridge", "tenant": each} for each in "ab"]
    monkeypatch.setenv("FHIR_BRIDGE_SIGN_IN_PROVIDERS", json.dumps(given))

    assert [each.tenant for each in settings.load().sign_in_providers] == ["a", "b"]


def test_one_issuer_may_serve_tenants_by_their_audiences(monkeypatch):
    given = [{"issuer": "https://id.example", "audience": each, "tenant": each} for each in "ab"]
    monkeypatch.setenv("FHIR_BRIDGE_TRUSTED_ISSUERS", json.dumps(given))

    assert [each.tenant for each in settings.load().trusted_issuers] == ["a", "b"]


def test_development_may_trust_an_issuer_by_plain_http(monkeypatch):
    monkeypatch.setenv("FHIR_BRIDGE_TRUSTED_ISSUERS", '[{"issuer": "http://127.0.0.1:8180/realms/dev"}]')
    monkeypatch.setenv("FHIR_BRIDGE_ALLOW_PRIVATE_ENDPOINTS", "true")

    assert settings.load().trusted_issuers[0].algorithms == ("RS256",)


def test_issuers_may_stand_in_a_file_because_they_may_hold_secrets(monkeypatch, tmp_path):
    path = tmp_path / "issuers.json"
    path.write_text(json.dumps([ASKED | {"client_secret": "sesame"}]))
    monkeypatch.setenv("FHIR_BRIDGE_TRUSTED_ISSUERS_FILE", str(path))

    read = settings.load()

    assert read.trusted_issuers[0].secret() == "sesame"
    assert "sesame" not in f"{read} {read!r} {read.model_dump_json()}"


def test_settings_cannot_be_changed_or_invented_once_read():
    with pytest.raises(ValidationError):
        settings.load().language = "da"
    with pytest.raises(ValidationError):
        Settings(langage="da")


def test_a_child_gets_this_environment_and_its_own_settings_on_top(monkeypatch, tmp_path):
    monkeypatch.setenv("FHIR_BRIDGE_SECRET_KEY_FILE", str(tmp_path / "gone"))
    monkeypatch.setenv("FHIR_BRIDGE_LANGUAGE", "da")
    monkeypatch.setenv("UNRELATED", "kept")

    given = settings.environment(secret_key="sesame", transport="recording")

    assert given["FHIR_BRIDGE_SECRET_KEY"] == "sesame"
    assert "FHIR_BRIDGE_SECRET_KEY_FILE" not in given
    assert (given["FHIR_BRIDGE_TRANSPORT"], given["FHIR_BRIDGE_LANGUAGE"], given["UNRELATED"]) == (
        "recording",
        "da",
        "kept",
    )
