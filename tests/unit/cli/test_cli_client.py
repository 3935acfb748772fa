from __future__ import annotations

import json

import pytest
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from fhir_bridge.smart.client import secret_hash
from fhir_bridge.store import Store, oauth

SCOPE = ("--scope", "system/*.cruds")


def test_a_client_with_a_secret_learns_it_once(run, sqlite_settings):
    made = run("client", "add", "EHR", "--secret", *SCOPE, data_dir=str(sqlite_settings.data_dir)).json

    store = Store.open(sqlite_settings).of_all()
    kept = store.read(lambda conn: oauth.client(conn, made["client_id"]))
    store.close()
    assert kept.secret_hash == secret_hash(made["client_secret"])
    assert made["client_secret"] not in str(kept)
    assert (kept.name, kept.tenant, kept.scope) == ("EHR", "default", "system/*.cruds")


def test_a_client_is_registered_with_its_public_keys(run, tmp_path):
    made = run("client", "add", "EHR", "--jwks", _jwks(tmp_path, ECKey.generate_key("P-384", _named())), *SCOPE).json

    assert "client_secret" not in made
    assert run("client", "list", "--json").json[0]["proof"] == "jwks"


def test_an_rsa_key_will_do_for_rs384(run, tmp_path):
    key = RSAKey.generate_key(2048, _named())

    assert run("client", "add", "EHR", "--jwks", _jwks(tmp_path, key), *SCOPE).status == 0


def test_a_client_may_publish_its_keys_at_a_url(run):
    run("client", "add", "EHR", "--jwks-uri", "https://ehr.example.org/jwks", *SCOPE)

    assert run("client", "list", "--json").json[0]["proof"] == "https://ehr.example.org/jwks"


def test_a_public_client_has_redirect_uris_alone(run):
    uris = ("--redirect-uri", "https://app.example.org/cb", "--redirect-uri", "http://127.0.0.1:5000/cb")
    run("client", "add", "App", *uris, "--scope", "launch openid fhirUser patient/Observation.rs")

    listed = run("client", "list", "--json").json[0]
    assert listed["redirect_uris"] == ["https://app.example.org/cb", "http://127.0.0.1:5000/cb"]
    assert listed["proof"] == "public"


def test_a_public_client_acts_for_people_alone(run):
    answer = run("client", "add", "App", "--redirect-uri", "https://app.example.org/cb", *SCOPE)

    assert answer.status == 2
    assert "system/ scopes are for a client that proves who it is" in answer.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--jwks FILE, --jwks-uri URL or --secret"),
        (("--secret", "--jwks-uri", "https://x.example"), "one of --jwks, --jwks-uri and --secret"),
    ],
)
def test_a_client_proves_itself_in_one_way(run, arguments, told):
    answer = run("client", "add", "EHR", *arguments, *SCOPE)

    assert answer.status == 2
    assert told in answer.err


@pytest.mark.parametrize(
    "url", ["http://ehr.example.org/jwks", "ehr.example.org", "file:///etc/passwd", "https:///nothing"]
)
def test_keys_are_fetched_over_https_only(run, url):
    answer = run("client", "add", "EHR", "--jwks-uri", url, *SCOPE)

    assert (answer.status, answer.err) == (1, "fhir-bridge: --jwks-uri must be an https URL\n")


def test_keys_may_be_fetched_over_http_where_private_endpoints_are_allowed(run):
    url = "http://127.0.0.1:5000/jwks"

    assert run("client", "add", "EHR", "--jwks-uri", url, *SCOPE, allow_private_endpoints="true").status == 0


@pytest.mark.parametrize("uri", ["/relative", "http://app.example.org/cb", "https://app.example.org/cb#x"])
def test_a_redirect_uri_that_oauth_refuses_is_refused_here(run, uri):
    answer = run("client", "add", "App", "--redirect-uri", uri, "--scope", "openid")

    assert answer.status == 1
    assert f"--redirect-uri {uri}" in answer.err


@pytest.mark.parametrize("scope", ["", "system/encounter.read", "system/*.cruds everything", "user/*.sduc"])
def test_a_scope_that_means_nothing_is_refused(run, scope):
    answer = run("client", "add", "EHR", "--secret", "--scope", scope)

    assert answer.status == 2
    assert "--scope" in answer.err


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (ECKey.generate_key("P-256", {"kid": "one"}), "P-384"),
        (OctKey.generate_key(256, {"kid": "one"}), "private keys"),
    ],
)
def test_keys_that_smart_does_not_allow_are_refused(run, tmp_path, key, told):
    answer = run("client", "add", "EHR", "--jwks", _jwks(tmp_path, key), *SCOPE)

    assert answer.status == 1
    assert told in answer.err


def test_a_file_with_private_keys_is_refused_before_they_spread(run, tmp_path):
    key = ECKey.generate_key("P-384", _named())
    answer = run("client", "add", "EHR", "--jwks", _jwks(tmp_path, key, private=True), *SCOPE)

    assert answer.status == 1
    assert "private keys" in answer.err


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"keys": [{"kty": "EC"}]}', '{"keys": 5}'])
def test_a_file_that_is_no_key_set_is_named(run, tmp_path, text):
    file = tmp_path / "keys.json"
    file.write_text(text)
    answer = run("client", "add", "EHR", "--jwks", str(file), *SCOPE)

    assert answer.status == 1
    assert str(file) in answer.err


def test_a_missing_file_is_named(run, tmp_path):
    answer = run("client", "add", "EHR", "--jwks", str(tmp_path / "none"), *SCOPE)

    assert (answer.status, answer.err) == (1, f"fhir-bridge: {tmp_path / 'none'}: No such file or directory\n")


def test_a_client_of_an_unknown_tenant_is_refused(run):
    answer = run("client", "add", "EHR", "--secret", *SCOPE, "--tenant", "north")

    assert answer.status == 1
    assert "--tenant: there is no tenant north" in answer.err


def test_clients_are_listed_in_columns_with_their_names_above(run):
    assert run("client", "list").out == "There are no clients.\n"
    made = run("client", "add", "EHR", "--secret", *SCOPE).json

    head, row = run("client", "list").out.splitlines()

    assert head.split() == ["client_id", "name", "tenant", "proof", "scope", "redirect_uris", "disabled"]
    assert row.split() == [made["client_id"], "EHR", "default", "secret", "system/*.cruds", "no"]


def test_clients_of_one_tenant_are_listed(run):
    run("tenant", "add", "north")
    run("client", "add", "EHR", "--secret", *SCOPE)
    run("client", "add", "Other", "--secret", *SCOPE, "--tenant", "north")

    assert [one["name"] for one in run("client", "list", "--json", "--tenant", "north").json] == ["Other"]


def test_a_client_is_disabled_by_its_id(run):
    made = run("client", "add", "EHR", "--secret", *SCOPE).json

    assert run("client", "disable", made["client_id"]).status == 0
    assert run("client", "list", "--json").json[0]["disabled"] is True


def test_disabling_an_unknown_client_fails(run):
    answer = run("client", "disable", "nobody")

    assert (answer.status, answer.err) == (1, "fhir-bridge: There is no client nobody; `client list` names them\n")


def _named() -> dict[str, str]:
    return {"kid": "one", "use": "sig"}


def _jwks(folder, key, *, private=None) -> str:
    file = folder / "jwks.json"
    file.write_text(json.dumps(KeySet([key]).as_dict(private=private)))
    return str(file)
