"""How a client comes by a token: over HTTP, with the proofs and the errors of SMART backend services."""

from __future__ import annotations

import base64
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from conftest import ASSERTION, SECRET
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from fhir_bridge import clock
from fhir_bridge.app import create_app
from fhir_bridge.cli.client import Proof, registered
from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.fhir.rest.openapi import scopes
from fhir_bridge.smart import keys
from fhir_bridge.store import oauth

TOKEN_URL = "http://127.0.0.1:8080/oauth/token"
KEYS = {"RS384": RSAKey.generate_key(2048, {"kid": "rsa"}), "ES384": ECKey.generate_key("P-384", {"kid": "ec"})}
JWKS = json.dumps(KeySet(list(KEYS.values())).as_dict(private=False))
FORM = "application/x-www-form-urlencoded"


def assertion(client: str, alg: str = "ES384", **claims: object) -> str:
    now = int(clock.now().timestamp())
    told = {"iss": client, "sub": client, "aud": TOKEN_URL, "exp": now + 300, "jti": clock.new_id()} | claims
    return jwt.encode({"alg": alg, "typ": "JWT", "kid": KEYS[alg].kid}, told, KEYS[alg], algorithms=[alg])


def signed(ehr, sent: str, scope: str = "system/Encounter.rs"):
    return ehr.token_answer(scope, client_assertion_type=ASSERTION, client_assertion=sent)


def basic(name: str, secret: str = SECRET) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def oauth_error(answer) -> tuple[int, str]:
    """Status and code of an answer that must be an error as OAuth clients read it."""
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert answer.json.keys() == {"error", "error_description"}
    assert answer.json["error_description"].isascii()
    assert ("WWW-Authenticate" in answer.headers) == (answer.status_code == 401)
    return answer.status_code, answer.json["error"]


@contextmanager
def serving(body: str):
    """A client's own web server with its keys."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/jwks"
    server.shutdown()
    thread.join()
    server.server_close()


class Later(clock.Clock):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def now(self):
        return super().now() + timedelta(seconds=self.seconds)

    def monotonic(self):
        return super().monotonic() + self.seconds


# --- proofs ------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", KEYS)
def test_a_client_with_registered_keys_gets_a_token(new_ehr, alg):
    ehr = new_ehr("system/*.rs", secret_hash=None, jwks=JWKS)
    answer = signed(ehr, assertion(ehr.name, alg))

    assert answer.status == 200
    assert answer.json.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert {name: answer.json[name] for name in ("token_type", "expires_in", "scope")} == {
        "token_type": "bearer",
        "expires_in": 300,
        "scope": "system/Encounter.rs",
    }
    assert answer.headers["Content-Type"] == "application/json"
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    assert ehr.get("Encounter", Authorization=f"Bearer {answer.json['access_token']}").status == 200


@pytest.mark.parametrize("alg", KEYS)
def test_a_client_with_a_jwks_url_gets_a_token_where_private_addresses_are_allowed(web_settings, alg):
    app = create_app(web_settings.model_copy(update={"allow_private_endpoints": True}))
    store = app.extensions["fhir-bridge"].store
    with serving(JWKS) as url:
        name = registered(store, "ehr", Proof(jwks_uri=url), scope="system/*.rs")["client_id"]
        form = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_assertion_type": ASSERTION}
        sent = [form | {"client_assertion": assertion(name, alg)} for _ in range(2)]
        assert [app.test_client().post("/oauth/token", data=each).status_code for each in sent] == [200, 200]
    store.close()


def test_a_private_jwks_url_is_not_asked(new_ehr):
    with serving(JWKS) as url:
        ehr = new_ehr("system/*.rs", secret_hash=None, jwks_uri=url)
        answer = signed(ehr, assertion(ehr.name))
    assert (answer.status, answer.json["error"]) == (401, "invalid_client")


def test_a_client_with_a_secret_gets_a_token_by_form_and_by_header(ehr):
    asked = {"grant_type": "client_credentials", "scope": "system/*.rs"}
    by_header = ehr.http.post("/oauth/token", data=asked, headers=basic(ehr.name))
    by_form = ehr.http.post("/oauth/token", data=asked | {"client_id": ehr.name, "client_secret": SECRET})
    assert [answer.status_code for answer in (by_header, by_form)] == [200, 200]


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("system/Encounter.read", "system/Encounter.read"),
        ("system/*.read", "system/Encounter.read system/Media.read"),
        ("system/*.cruds", "system/Encounter.rs system/Media.cruds"),
        ("system/*.*", "system/Encounter.read system/Media.*"),
        ("system/Patient.rs system/Media.c openid", "system/Media.c"),
        ("system/Media.rs?status=completed", "system/Media.rs?status=completed"),
    ],
)
def test_a_token_has_what_was_asked_and_registered_in_the_words_of_the_client(new_ehr, asked, given):
    answer = new_ehr("system/Encounter.rs system/Media.cruds").token_answer(asked)
    assert answer.json["scope"] == given


def test_every_scope_that_is_announced_can_be_had(ehr):
    for scope in scopes():
        assert ehr.token_answer(scope).json["scope"] == scope


def test_a_blank_in_a_narrowed_scope_opens_nothing(new_ehr, ehr):
    """A client that asked for `?status=completed%20system/*.cruds` was given both."""
    id_ = ehr.encounter()
    narrow = new_ehr("system/Media.rs")
    got = narrow.token_answer("system/Media.rs?status=completed%20system/*.cruds").json
    assert narrow.get(f"Encounter/{id_}", Authorization=f"Bearer {got['access_token']}").status == 403


# --- errors ------------------------------------------------------------------------------


def test_each_error_has_its_status_and_form(ehr, new_ehr, bridge):
    disabled = new_ehr()
    bridge.store.write(lambda conn: oauth.disable_client(conn, disabled.name))
    by_key = new_ehr(secret_hash=None, jwks=JWKS)
    right = {"grant_type": "client_credentials", "client_id": ehr.name, "client_secret": SECRET, "scope": "system/*.rs"}
    twice = assertion(by_key.name)
    signed(by_key, twice)

    def asked(changes, **sent):
        form = {name: value for name, value in (right | changes).items() if value is not None}
        return oauth_error(ehr.http.post("/oauth/token", data=form, **sent))

    def proved(sent):
        return asked({"client_id": None, "client_secret": None, "client_assertion_type": ASSERTION} | sent)

    no_form = {"client_id": None, "client_secret": None}
    assert asked({"client_secret": "wrong"}) == (401, "invalid_client")
    assert asked({"client_id": "nobody"}) == (401, "invalid_client")
    assert asked({"client_id": "ehr\0'--\ud7ff"}) == (401, "invalid_client")
    assert asked({"client_id": disabled.name}) == (401, "invalid_client")
    assert asked({"client_id": by_key.name}) == (401, "invalid_client")
    assert asked(no_form) == (401, "invalid_client")
    assert asked(no_form, headers=basic(ehr.name, "wrong")) == (401, "invalid_client")
    assert asked(no_form, headers={"Authorization": "Basic \xff"}) == (401, "invalid_client")
    assert asked({}, headers=basic(ehr.name)) == (400, "invalid_request")
    assert proved({"client_assertion": twice}) == (401, "invalid_client")
    assert proved({"client_assertion": "x.y.z"}) == (401, "invalid_client")
    assert proved({"client_assertion": assertion(by_key.name, exp=int(clock.now().timestamp()) + 3600)}) == (
        401,
        "invalid_client",
    )
    assert proved({"client_assertion": assertion(by_key.name), "client_id": ehr.name}) == (401, "invalid_client")
    assert asked({"scope": "user/*.rs"}) == (400, "invalid_scope")
    assert asked({"scope": None}) == (400, "invalid_scope")
    assert asked({"grant_type": None}) == (400, "invalid_request")
    assert asked({"grant_type": "password"}) == (400, "unsupported_grant_type")
    assert asked({"scope": ["system/*.rs", "system/*.cruds"]}) == (400, "invalid_request")


def test_what_is_no_form_is_refused_in_oauths_words(ehr):
    form = {"grant_type": "client_credentials", "client_id": ehr.name, "client_secret": SECRET, "scope": "system/*.rs"}
    post = ehr.http.post
    assert oauth_error(post("/oauth/token", json=form)) == (400, "invalid_request")
    assert oauth_error(post("/oauth/token", data=form, content_type="multipart/form-data")) == (400, "invalid_request")
    assert oauth_error(post("/oauth/token", query_string=form)) == (400, "invalid_request")
    assert oauth_error(post("/oauth/token", query_string=form, content_type=FORM)) == (400, "invalid_request")
    assert oauth_error(post("/oauth/token", data=b"\xff=\xfe", content_type=FORM)) == (400, "invalid_request")
    assert oauth_error(post("/oauth/token", data=b"a" * 65_537, content_type=FORM)) == (413, "invalid_request")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_the_token_endpoint_is_posted_to(ehr, method):
    answer = ehr.http.open("/oauth/token", method=method)
    assert oauth_error(answer) == (405, "invalid_request")
    assert answer.headers["Allow"] == "OPTIONS, POST"


def test_other_failures_of_oauth_routes_are_in_its_words_too(app, ehr):
    @app.get("/oauth/broken")
    def broken():
        raise RuntimeError("a patient's name")

    @app.get("/oauth/away")
    def away():
        raise StoreUnavailable("The database does not answer", retry_after=2)

    assert oauth_error(ehr.http.get("/oauth/nowhere")) == (404, "invalid_request")
    assert oauth_error(ehr.http.get("/oauth/broken")) == (500, "server_error")
    answer = ehr.http.get("/oauth/away")
    assert oauth_error(answer) == (503, "temporarily_unavailable")
    assert answer.headers["Retry-After"] == "2"
    assert ehr.http.get("/oauthority").json["resourceType"] == "OperationOutcome"


# --- replay, rotation --------------------------------------------------------------------


def test_of_many_who_send_one_assertion_to_two_processes_one_gets_a_token(settings):
    """On both databases; the two applications share nothing else."""
    apps = [create_app(settings.model_copy(update={"public_url": "http://127.0.0.1:8080"})) for _ in range(2)]
    stores = [app.extensions["fhir-bridge"].store.of_all() for app in apps]
    client = oauth.Client("ehr", "default", "ehr", "system/*.rs", 0, jwks=JWKS)
    stores[0].write(lambda conn: oauth.add_client(conn, client))
    form = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_assertion_type": ASSERTION}
    form["client_assertion"] = assertion("ehr")
    ready = threading.Barrier(16)

    def ask(number: int) -> int:
        ready.wait()
        return apps[number % 2].test_client().post("/oauth/token", data=form).status_code

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(ask, range(16))) == [200] + [401] * 15
    for store in stores:
        store.close()


def test_tokens_of_a_rotated_key_count_until_they_end(web_settings, app, ehr, bridge):
    other = create_app(web_settings)
    of_old = ehr.token

    def use(of_app, token):
        return of_app.test_client().get("/fhir/Encounter", headers={"Authorization": f"Bearer {token}"}).status_code

    def kids():
        published = ehr.http.get("/oauth/jwks").json["keys"]
        return [key["kid"] for key in published if key["alg"] == "ES384"]

    assert use(other, of_old) == 200
    (first,) = kids()
    made = keys.generate("ES384")
    row = oauth.new_signing_key(made.kid, made.alg, made.private_json(), bridge.keyring)
    bridge.store.write(
        lambda conn: (
            oauth.retire_signing_keys(conn, int(clock.now().timestamp() * 1000)),
            oauth.add_signing_key(conn, row),
        )
    )
    with clock.use(Later(61)):
        of_new = ehr.token_answer().json["access_token"]
        assert json.loads(base64.urlsafe_b64decode(of_new.split(".")[0] + "=="))["kid"] == made.kid
        assert kids() == [made.kid, first]
        assert [use(each, token) for each in (app, other) for token in (of_old, of_new)] == [200] * 4
    with clock.use(Later(400)):
        assert kids() == [made.kid]
        assert use(app, of_old) == 401
    other.extensions["fhir-bridge"].store.close()


def test_a_token_dies_with_its_clients_tenancy(ehr):
    """Were a client ever moved, its tokens would not go on opening what it left."""
    assert ehr.get("Encounter").status == 200
    tokens = ehr.http.application.extensions["fhir-bridge-tokens"]
    grant = tokens.verifier.grant(ehr.token)
    assert tokens.is_active(grant)
    assert not tokens.is_active(type(grant)("elsewhere", grant.client, grant.scope))


# --- secrecy -----------------------------------------------------------------------------


def test_the_database_and_its_folder_hold_no_secret(web_settings, bridge, app):
    made = registered(bridge.store, "ehr", Proof(secret=True), scope="system/*.rs")
    by_key = registered(bridge.store, "keys", Proof(jwks=JWKS), scope="system/*.rs")
    form = {"grant_type": "client_credentials", "scope": "system/*.rs"}
    sent = assertion(by_key["client_id"])
    answers = [
        app.test_client().post("/oauth/token", data=form | proof)
        for proof in (
            {"client_id": made["client_id"], "client_secret": made["client_secret"]},
            {"client_assertion_type": ASSERTION, "client_assertion": sent},
        )
    ]
    signing = app.extensions["fhir-bridge-tokens"].keys()[0]
    secrets = [
        made["client_secret"],
        base64.b64encode(made["client_secret"].encode()).decode(),
        json.loads(signing.private_json())["d"],
        *(answer.json["access_token"] for answer in answers),
        *(answer.json["access_token"].split(".")[2] for answer in answers),
        sent,
        sent.split(".")[2],
    ]
    bridge.store.close()
    kept = b"".join(path.read_bytes() for path in web_settings.data_dir.rglob("*") if path.is_file())
    assert made["client_id"].encode() in kept
    assert [secret for secret in secrets if secret.encode() in kept] == []


def test_the_log_holds_nothing_that_was_sent(ehr, new_ehr, caplog):
    caplog.set_level(logging.DEBUG)
    canary = "canary Smith"
    by_key = new_ehr(secret_hash=None, jwks=JWKS)
    sent = assertion(by_key.name, note=canary)
    names = ("client_id", "client_secret", "scope", "grant_type", "client_assertion", "client_assertion_type", canary)
    headers = (
        "Authorization",
        "User-Agent",
        "X-Request-Id",
        "Origin",
        "Cookie",
        "Accept",
        "Referer",
        "X-Forwarded-For",
    )
    for name in names:
        right = {
            "grant_type": "client_credentials",
            "client_id": ehr.name,
            "client_secret": SECRET,
            "scope": "system/*.rs",
        }
        ehr.http.post("/oauth/token", data=right | {name: canary})
    for name in headers:
        ehr.http.post("/oauth/token", data={"grant_type": canary}, headers={name: f"Basic {canary}"})
        ehr.http.get("/fhir/Encounter", headers={name: f"Bearer {canary}"})
    ehr.http.post(f"/oauth/token?a={canary}", json={"a": canary})
    ehr.http.get(f"/oauth/{canary}")
    ehr.http.open("/oauth/token", method=canary.replace(" ", ""))
    token = signed(by_key, sent).json["access_token"]
    ehr.get("Encounter", Authorization=f"Bearer {token}")
    ehr.get(f"Encounter?access_token={token}&x={canary}")

    assert caplog.text
    told = [
        canary,
        canary.replace(" ", ""),
        "canary%20Smith",
        SECRET,
        sent,
        sent.split(".")[2],
        token,
        token.split(".")[2],
    ]
    assert [each for each in told if each in caplog.text] == []


# --- discovery ---------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [None, "application/json", "text/html", "application/fhir+xml", "*/*;q=0"])
def test_the_smart_configuration_is_json_for_anyone(ehr, accept):
    headers = {"Accept": accept} if accept else {}
    answer = ehr.http.get("/fhir/.well-known/smart-configuration?_format=xml", headers=headers)

    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    required = {"token_endpoint", "grant_types_supported", "capabilities", "code_challenge_methods_supported"}
    assert required <= answer.json.keys()
    assert answer.json["code_challenge_methods_supported"] == ["S256"]
    assert answer.json["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    urls = {name: value for name, value in answer.json.items() if name.endswith(("_endpoint", "_uri"))}
    assert urls == {
        "authorization_endpoint": "http://127.0.0.1:8080/oauth/authorize",
        "token_endpoint": TOKEN_URL,
        "introspection_endpoint": "http://127.0.0.1:8080/oauth/introspect",
        "revocation_endpoint": "http://127.0.0.1:8080/oauth/revoke",
        "jwks_uri": "http://127.0.0.1:8080/oauth/jwks",
    }


def test_urls_are_below_a_public_url_with_a_path(web_settings):
    app = create_app(web_settings.model_copy(update={"public_url": "https://bridge.example/base/"}))
    found = app.test_client().get("/fhir/.well-known/smart-configuration").json
    assert found["token_endpoint"] == "https://bridge.example/base/oauth/token"
    app.extensions["fhir-bridge"].store.close()


def test_only_public_keys_are_published_and_they_verify_tokens(ehr):
    answer = ehr.http.get("/oauth/jwks")
    assert answer.content_type == "application/json"
    assert [key.keys() for key in answer.json["keys"]] == [
        {"kty", "crv", "x", "y", "kid", "use", "alg"},
        {"kty", "n", "e", "kid", "use", "alg"},
    ]
    claims = jwt.decode(ehr.token, KeySet.import_key_set(answer.json), algorithms=["ES384"]).claims
    assert (claims["aud"], claims["iss"]) == ("http://127.0.0.1:8080/fhir", "http://127.0.0.1:8080")


# --- bearer tokens -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "status", "challenge"),
    [
        (None, 401, 'Bearer realm="fhir"'),
        ("", 401, 'Bearer realm="fhir"'),
        ("Basic eDp5", 401, 'Bearer realm="fhir"'),
        ("Bearer", 401, 'Bearer realm="fhir", error="invalid_token"'),
        ("Bearer a.b.c", 401, 'Bearer realm="fhir", error="invalid_token"'),
        ("Bearer {token} x", 401, 'Bearer realm="fhir", error="invalid_token"'),
        ("Bearer {token}, Bearer {token}", 400, None),
        ("Bearer {token},{token}", 400, None),
        ("bEARER   {token}", 200, None),
    ],
)
def test_a_bearer_token_is_read_from_one_header(ehr, header, status, challenge):
    headers = {} if header is None else {"Authorization": header.format(token=ehr.token)}
    answer = ehr.http.get("/fhir/Encounter", headers=headers)
    assert (answer.status_code, answer.headers.get("WWW-Authenticate")) == (status, challenge)
