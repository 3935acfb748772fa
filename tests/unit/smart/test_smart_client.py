"""What the token endpoint asks of a client, and what it answers, apart from assertions."""

import base64
import logging

import pytest
from smart_forging import at_now
from smart_pledges import desk_of

from fhir_bridge.smart import keys
from fhir_bridge.smart.assertion import ASSERTION_TYPE
from fhir_bridge.smart.client import LONGEST_SCOPE, Client, secret_hash
from fhir_bridge.smart.compact import LONGEST
from fhir_bridge.smart.discovery import openid_configuration, smart_configuration
from fhir_bridge.smart.flows import token_response
from fhir_bridge.smart.grant import Grant
from fhir_bridge.smart.password import hashed
from fhir_bridge.smart.token import Place, Verifier

PLACE = Place("https://bridge.example", "https://bridge.example/fhir")
SIGNING = keys.generate("ES384")
SECRET = "päss%wörd:+"
CLIENTS = {
    client.id: client
    for client in (
        Client("ehr", "default", "system/*.cruds user/*.rs patient/*.rs launch", secret_hash=secret_hash(SECRET)),
        Client("two words", "default", "system/*.rs", secret_hash=secret_hash(SECRET)),
        Client("keys", "default", "system/*.rs", secret_hash=secret_hash(SECRET), jwks='{"keys":[]}'),
        Client("neither", "default", "system/*.rs"),
    )
}


def ask(headers=None, **form):
    desk = desk_of(CLIENTS.get, SIGNING, place=PLACE)
    sent = {"grant_type": "client_credentials", "scope": "system/*.rs"} | form
    return token_response(desk, {name: value for name, value in sent.items() if value is not None}, headers or {})


def by_form(**form):
    return ask(client_id="ehr", client_secret=SECRET, **form)


def basic(name="ehr", secret=SECRET, *, quoted=True):
    if quoted:
        name, secret = (text.replace("%", "%25").replace(" ", "%20").replace(":", "%3A") for text in (name, secret))
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def test_a_secret_is_taken_from_the_form_or_the_header():
    assert by_form().status == 200
    assert ask(basic()).status == 200
    assert ask(basic("two words")).status == 200
    assert ask({"Authorization": basic()["Authorization"].replace("Basic ", "bASIC  ")}).status == 200
    assert ask(basic(), client_id="ehr").status == 200


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic é",
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Basic " + base64.b64encode(b"ehr").decode(),
        "Basic " + base64.b64encode(b":").decode(),
        "Basic " + base64.b64encode(b"ehr:").decode(),
        "Basic " + base64.b64encode(b"nobody:x").decode(),
        "Basic " + base64.b64encode(b"neither:").decode(),
        "Basic " + base64.b64encode(b"ehr\0:x").decode(),
        basic()["Authorization"] + "," + basic()["Authorization"],
        "Bearer abc",
        "Digest username=ehr",
        "",
    ],
)
def test_a_header_that_proves_nothing_is_answered_with_401(header):
    answer = ask({"Authorization": header})
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert ("WWW-Authenticate", 'Basic realm="fhir-bridge"') in answer.headers


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"client_id": "ehr"},
        {"client_id": "ehr", "client_secret": ""},
        {"client_id": "ehr", "client_secret": "wrong"},
        {"client_id": "nobody", "client_secret": SECRET},
        {"client_id": "neither", "client_secret": "None"},
        {"client_secret": SECRET},
        {"client_id": "keys", "client_secret": SECRET},
    ],
)
def test_a_form_that_proves_nothing_is_answered_with_401(form):
    answer = ask(**form)
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert answer.body["error_description"].isascii()


def test_an_unknown_client_and_a_wrong_secret_are_told_the_same():
    assert ask(client_id="nobody", client_secret="x").body == ask(client_id="ehr", client_secret="x").body
    assert ask(basic("nobody")).body == ask(basic("ehr", "x")).body


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        (basic(), {"client_secret": SECRET}),
        (basic(), {"client_assertion": "a.b.c", "client_assertion_type": ASSERTION_TYPE}),
        ({}, {"client_secret": SECRET, "client_assertion": "a.b.c"}),
        ({"Authorization": "Bearer x"}, {"client_id": "ehr", "client_secret": SECRET}),
    ],
)
def test_two_proofs_at_once_are_refused(headers, form):
    answer = ask(headers, **form)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")


def test_a_client_id_beside_the_header_names_the_same_client():
    answer = ask(basic(), client_id="two words")
    assert (answer.status, answer.body["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("missing", [None, ""])
def test_a_request_without_grant_type_is_invalid(missing):
    answer = by_form(grant_type=missing)
    assert (answer.status, answer.body["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("kind", ["password", "implicit", "client_credentials ", "CLIENT_CREDENTIALS", 'é"'])
def test_another_grant_type_is_not_supported(kind):
    answer = by_form(grant_type=kind)
    assert (answer.status, answer.body["error"]) == (400, "unsupported_grant_type")
    assert answer.body["error_description"]


@pytest.mark.parametrize(
    "scope",
    [
        None,
        "",
        " ",
        "nonsense",
        "system/Media.dus",
        "openid",
        "user/Encounter.rs",
        "patient/Encounter.rs",
        "s" * (LONGEST_SCOPE + 1),
        " ".join(["system/Encounter.rs"] * 300),
    ],
)
def test_a_request_for_nothing_that_is_registered_is_an_invalid_scope(scope):
    answer = by_form(scope=scope)
    assert (answer.status, answer.body["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("system/Encounter.rs", "system/Encounter.rs"),
        ("system/Encounter.read system/Media.write", "system/Encounter.read system/Media.write"),
        ("system/*.*", "system/*.*"),
        ("system/Encounter.rs user/*.rs patient/*.rs", "system/Encounter.rs"),
        ("system/Encounter.rs fhirUser launch", "launch system/Encounter.rs"),
        ("system/Media.rs?status=completed%20system/*.cruds", "system/Media.rs?status=completed%20system/*.cruds"),
    ],
)
def test_a_token_has_what_was_asked_and_is_registered(asked, given):
    with at_now():
        answer = by_form(scope=asked)
        grant = Verifier({SIGNING.kid: SIGNING}.get, PLACE).grant(answer.body["access_token"])
    assert answer.body["scope"] == given
    assert grant == Grant("default", "ehr", given)


def test_many_scopes_still_make_a_token_that_is_taken():
    asked = " ".join(f"system/Encounter.rs?status=s{n}" for n in range(100))
    with at_now():
        token = by_form(scope=asked).body["access_token"]
        assert len(token) < LONGEST
        Verifier({SIGNING.kid: SIGNING}.get, PLACE).grant(token)


def test_a_registration_that_makes_the_answer_too_long_is_refused():
    wide = Client("wide", "default", " ".join(f"system/Encounter.rs?status=s{n}" for n in range(200)))
    assert wide.get_allowed_scope("system/Encounter.rs") is None


def test_nothing_that_proves_a_client_is_shown_or_logged(caplog):
    caplog.set_level(logging.DEBUG)
    answer = by_form()
    assert SECRET not in repr(CLIENTS)
    assert secret_hash(SECRET) not in repr(CLIENTS)
    assert answer.body["access_token"] not in caplog.text
    assert secret_hash(SECRET) not in caplog.text


def test_the_configuration_lists_what_is_served():
    found = smart_configuration("https://bridge.example/path", ("system/Encounter.rs",))
    for name in ("authorization", "token", "introspection", "revocation"):
        assert found[f"{name}_endpoint"].startswith("https://bridge.example/path/oauth/")
    assert (found["issuer"], found["jwks_uri"]) == (
        "https://bridge.example/path",
        "https://bridge.example/path/oauth/jwks",
    )
    assert found["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    assert found["grant_types_supported"] == ["authorization_code", "refresh_token", "client_credentials"]
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["scopes_supported"] == ["system/Encounter.rs"]


def test_the_configuration_of_the_openid_provider_says_the_same_and_how_id_tokens_are_signed():
    smart = smart_configuration("https://bridge.example", ("openid",))
    found = openid_configuration("https://bridge.example", ("openid",))
    assert {name: found[name] for name in smart.keys() - {"capabilities"}} == {
        name: smart[name] for name in smart.keys() - {"capabilities"}
    }
    assert found["id_token_signing_alg_values_supported"] == ["RS256"]
    assert found["request_uri_parameter_supported"] is False


def test_a_password_is_hashed_with_argon2id_and_never_twice_the_same():
    assert hashed("secret").startswith("$argon2id$")
    assert hashed("secret") != hashed("secret")


@pytest.mark.parametrize("alg", ["ES384", "RS256"])
def test_a_signing_key_survives_the_store(alg):
    key = keys.generate(alg)
    again = keys.load(key.kid, alg, key.private_json())
    assert (again.kid, again.alg, again.private_json()) == (key.kid, alg, key.private_json())


def test_only_the_public_half_of_signing_keys_is_published():
    signing = tuple(keys.load(key.kid, key.alg, key.private_json()) for key in map(keys.generate, ("ES384", "RS256")))
    shown = keys.public_set(signing)["keys"]
    assert [key.keys() for key in shown] == [
        {"kty", "crv", "x", "y", "kid", "use", "alg"},
        {"kty", "n", "e", "kid", "use", "alg"},
    ]
