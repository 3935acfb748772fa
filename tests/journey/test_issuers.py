"""Whose tokens open which tenant: the bridge's own, those of outside issuers, and every mixture of them."""

from __future__ import annotations

import itertools
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from conftest import ASSERTION
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from fhir_bridge import clock
from fhir_bridge.app import create_app
from fhir_bridge.errors import BadSetting
from fhir_bridge.smart.client import secret_hash
from fhir_bridge.store import oauth
from fhir_bridge.trusted import TrustedIssuer

ORIGIN = "http://127.0.0.1:8080"
BASE, TOKEN_URL = f"{ORIGIN}/fhir", f"{ORIGIN}/oauth/token"
NORTH, SOUTH = RSAKey.generate_key(2048, {"kid": "north"}), ECKey.generate_key("P-256", {"kid": "south"})
CLIENT = ECKey.generate_key("P-384", {"kid": "client"})


@contextmanager
def issuers():
    """Two issuers and one that is asked; yields their origin and the tokens that were asked about."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/north/.well-known/openid-configuration":
                self.answer(published(f"http://127.0.0.1:{server.server_address[1]}/north"))
                return
            key = {"/north/jwks": NORTH, "/south/jwks": SOUTH}[self.path]
            self.answer(KeySet([key]).as_dict(private=False))

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            asked.extend(form["token"])
            good = {"active": True, "client_id": "ehr", "scope": "system/*.cruds", "exp": seconds() + 300}
            self.answer(good if form["token"] == ["opaque-token"] else {"active": False})

        def answer(self, told) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def published(issuer: str) -> dict:
    """What an issuer says of itself, as Keycloak does."""
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        "authorization_endpoint": f"{issuer}/auth",
        "token_endpoint": f"{issuer}/token",
        "introspection_endpoint": f"{issuer}/introspect",
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic", "tls_client_auth"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "frontchannel_logout_supported": True,
    }


def seconds() -> int:
    return int(clock.now().timestamp())


@pytest.fixture(scope="module")
def local():
    with issuers() as found:
        yield found


@pytest.fixture
def hospital(web_settings, local):
    """A bridge with a tenant for each issuer, and its own clients in `default`."""
    origin, asked = local
    asked.clear()
    trusted = (
        TrustedIssuer(issuer=f"{origin}/north", jwks_uri=f"{origin}/north/jwks", tenant="north"),
        TrustedIssuer(
            issuer=f"{origin}/south",
            jwks_uri=f"{origin}/south/jwks",
            audience="south-audience",
            algorithms="ES256",
            tenant="south",
        ),
        TrustedIssuer(
            issuer=f"{origin}/asked",
            introspection_endpoint=f"{origin}/asked/introspect",
            verify="introspection",
            client_id="bridge",
            client_secret="sesame",
            audience=[],
            tenant="asked",
        ),
    )
    app = create_app(web_settings.model_copy(update={"trusted_issuers": trusted, "allow_private_endpoints": True}))
    bridge = app.extensions["fhir-bridge"].of_all()
    jwks = json.dumps(KeySet([CLIENT]).as_dict(private=False))

    def register(conn) -> None:
        for tenant in ("north", "south", "asked"):
            oauth.add_tenant(conn, oauth.new_tenant(tenant, bridge.keyring))
        oauth.add_client(conn, oauth.Client("ehr", "default", "ehr", "system/*.cruds", 0, jwks=jwks))
        oauth.add_client(conn, oauth.Client("s", "default", "s", "system/*.cruds", 0, secret_hash=secret_hash("s")))

    bridge.store.write(register)
    yield app
    bridge.store.close()


def use(app, token: str):
    return app.test_client().get("/fhir/Encounter", headers={"Authorization": f"Bearer {token}"})


def signed(key, alg: str, typ: str, claims: dict) -> str:
    return jwt.encode({"alg": alg, "typ": typ, "kid": key.kid}, claims, key, algorithms=[alg])


def as_assertion(app, token: str):
    form = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_assertion_type": ASSERTION}
    return app.test_client().post("/oauth/token", data=form | {"client_assertion": token})


def test_issuer_key_audience_and_type_open_a_door_in_the_right_mixture_alone(hospital, local):
    """Issuer x signing key x audience x type, at the door for tokens and at that for assertions."""
    origin, _ = local
    own = hospital.extensions["fhir-bridge-tokens"].keys()[0]
    keys = {
        "own": (own.key, "ES384"),
        "north": (NORTH, "RS256"),
        "south": (SOUTH, "ES256"),
        "client": (CLIENT, "ES384"),
    }
    names = {"own": ORIGIN, "north": f"{origin}/north", "south": f"{origin}/south", "client": "ehr"}
    audiences = (BASE, TOKEN_URL, "south-audience", "ehr")
    types = ("at+jwt", "JWT", "logout+jwt")
    good = {
        ("own", "own", BASE, "at+jwt"),
        *(("north", "north", BASE, typ) for typ in ("at+jwt", "JWT")),
        *(("south", "south", "south-audience", typ) for typ in ("at+jwt", "JWT")),
    }
    opened, proved, statuses = set(), set(), set()
    for number, cell in enumerate(itertools.product(names, keys, audiences, types)):
        iss, signer, aud, typ = cell
        key, alg = keys[signer]
        now = seconds()
        token = {"client_id": "ehr", "tenant": "default", "scope": "system/*.rs", "sub": "ehr"}
        told = {"iss": names[iss], "aud": aud, "iat": now, "exp": now + 200, "jti": f"cross-{number}"} | token
        text = signed(key, alg, typ, told)
        bearer, assertion = use(hospital, text), as_assertion(hospital, text)
        statuses |= {bearer.status_code, assertion.status_code}
        opened |= {cell} if bearer.status_code == 200 else set()
        proved |= {cell} if assertion.status_code == 200 else set()

    assert opened == good
    assert proved == {("client", "client", TOKEN_URL, "JWT")}
    assert statuses == {200, 401}


def test_each_issuers_tokens_see_their_tenant_alone(hospital, local):
    origin, _ = local
    now = seconds()
    told = {"azp": "ehr", "scope": "system/*.cruds", "iat": now, "exp": now + 200, "jti": "1"}
    tokens = {
        "north": signed(NORTH, "RS256", "JWT", told | {"iss": f"{origin}/north", "aud": BASE}),
        "south": signed(SOUTH, "ES256", "at+jwt", told | {"iss": f"{origin}/south", "aud": ["south-audience"]}),
        "asked": "opaque-token",
        "default": hospital.test_client()
        .post(
            "/oauth/token",
            data={
                "grant_type": "client_credentials",
                "scope": "system/*.cruds",
                "client_id": "s",
                "client_secret": "s",
            },
        )
        .json["access_token"],
    }
    http = hospital.test_client()
    for name, token in tokens.items():
        bearer = {"Authorization": f"Bearer {token}"}
        made = http.post("/fhir/Patient", json={"resourceType": "Patient", "language": name}, headers=bearer)
        assert made.status_code == 201, (name, made.get_data())
    for name, token in tokens.items():
        found = use_patients(http, token)
        assert [each["language"] for each in found] == [name]


def use_patients(http, token: str) -> list[dict]:
    answer = http.get("/fhir/Patient", headers={"Authorization": f"Bearer {token}"}).json
    return [entry["resource"] for entry in answer["entry"]]


def test_a_client_of_an_outside_issuer_is_none_of_the_bridges_with_the_same_name(hospital, local):
    """What `ehr` of another issuer began is not `ehr`'s: status URLs, uploads, the audit."""
    origin, _ = local
    now = seconds()
    told = {"iss": f"{origin}/north", "aud": BASE, "azp": "ehr", "scope": "system/*.rs", "iat": now, "exp": now + 200}
    grant = hospital.extensions["fhir-bridge-tokens"].grant(signed(NORTH, "RS256", "JWT", told))
    assert (grant.client, grant.tenant) == (f"{origin}/north#ehr", "north")


def test_an_issuer_whose_tenant_is_none_of_ours_opens_nothing(web_settings, local):
    origin, _ = local
    trusted = (TrustedIssuer(issuer=f"{origin}/north", jwks_uri=f"{origin}/north/jwks", tenant="nowhere"),)
    app = create_app(web_settings.model_copy(update={"trusted_issuers": trusted, "allow_private_endpoints": True}))
    now = seconds()
    told = {"iss": f"{origin}/north", "aud": BASE, "azp": "ehr", "scope": "system/*.rs", "iat": now, "exp": now + 200}
    assert use(app, signed(NORTH, "RS256", "JWT", told)).status_code == 401
    app.extensions["fhir-bridge"].store.close()


def test_an_issuer_that_does_not_answer_is_told_from_a_bad_token(web_settings):
    trusted = (TrustedIssuer(issuer="http://127.0.0.1:9/realms/h"),)
    app = create_app(web_settings.model_copy(update={"trusted_issuers": trusted, "allow_private_endpoints": True}))
    now = seconds()
    told = {"iss": "http://127.0.0.1:9/realms/h", "aud": BASE, "exp": now + 200}
    answer = use(app, signed(NORTH, "RS256", "JWT", told))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert answer.json["issue"][0]["code"] == "transient"
    app.extensions["fhir-bridge"].store.close()


def test_an_opaque_token_is_asked_about_once_a_minute_and_its_refusal_shows_nothing(hospital, local, caplog):
    _, asked = local
    assert [use(hospital, "opaque-token").status_code for _ in range(3)] == [200] * 3
    assert use(hospital, "another-token").status_code == 401
    assert asked == ["opaque-token", "another-token"]
    assert not [secret for secret in ("opaque-token", "another-token", "sesame") if secret in caplog.text]


def test_where_the_bridge_gives_no_tokens_discovery_names_who_does(web_settings, local):
    origin, _ = local
    issuer = f"{origin}/north"
    ours = create_app(web_settings)
    own = ours.extensions["fhir-bridge-tokens"].keys()[0]
    changes = {"built_in_issuer": False, "allow_private_endpoints": True}
    app = create_app(web_settings.model_copy(update={"trusted_issuers": (TrustedIssuer(issuer=issuer),)} | changes))
    http = app.test_client()

    told = http.get("/fhir/.well-known/smart-configuration").json
    assert told["token_endpoint"] == f"{issuer}/token"
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["grant_types_supported"] == ["authorization_code"]
    assert {"client-confidential-asymmetric", "client-confidential-symmetric", "permission-v2"} <= {
        *told["capabilities"]
    }
    assert "launch-ehr" not in told["capabilities"]
    assert "frontchannel_logout_supported" not in told
    security = http.get("/fhir/metadata").json["rest"][0]["security"]
    urls = {each["url"]: each["valueUri"] for each in security["extension"][0]["extension"]}
    assert urls == {"authorize": f"{issuer}/auth", "token": f"{issuer}/token", "introspect": f"{issuer}/introspect"}
    for path in ("token", "jwks", "authorize", "introspect", "sign-in", "launch"):
        assert http.post(f"/oauth/{path}").status_code == 404
    now = seconds()
    claims = {"aud": BASE, "client_id": "s", "tenant": "default", "scope": "system/*.rs", "iat": now, "exp": now + 200}
    claims |= {"jti": "1", "sub": "s"}
    theirs = signed(NORTH, "RS256", "at+jwt", claims | {"iss": issuer})
    former = signed(own.key, "ES384", "at+jwt", claims | {"iss": ORIGIN})
    assert [use(app, token).status_code for token in (theirs, former)] == [200, 401]
    for each in (app, ours):
        each.extensions["fhir-bridge"].store.close()


def test_a_bridge_that_gives_no_tokens_and_trusts_nobody_does_not_start(web_settings):
    with pytest.raises(BadSetting, match="No issuer is left") as refused:
        create_app(web_settings.model_copy(update={"built_in_issuer": False}))
    assert refused.value.at == "FHIR_BRIDGE_BUILT_IN_ISSUER"
