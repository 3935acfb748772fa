"""A person signs in at the OpenID provider of the hospital, and comes back to say what the app may do."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from browser import BASE, CALLBACK, Browser, add_app, add_user, begin
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from fhir_bridge import clock
from fhir_bridge.app import create_app
from fhir_bridge.trusted import SignInProvider

RSA, EC, STRANGER = (
    RSAKey.generate_key(2048, {"kid": "rsa"}),
    ECKey.generate_key("P-256", {"kid": "ec"}),
    RSAKey.generate_key(2048, {"kid": "rsa"}),
)
SECRET = "se same"


@dataclass
class Hospital:
    """An OpenID provider: it gives an id_token for the code of whoever signed in last."""

    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    challenge: str = ""
    key: Any = field(default_factory=lambda: RSA)
    alg: str = "RS256"
    answer: tuple[int, bytes] | None = None

    def signs_in(self, left: str, **changes: Any) -> str:
        """Where somebody who was sent to `left` is sent back, signed in."""
        sent = dict(parse_qsl(urlsplit(left).query))
        assert left.startswith(f"{self.url}/authorize?"), left
        assert (sent["response_type"], sent["client_id"]) == ("code", "bridge")
        assert sent["code_challenge_method"] == "S256"
        now = int(clock.now().timestamp())
        told = {"iss": self.url, "aud": "bridge", "sub": "f3a1", "iat": now, "exp": now + 60, "nonce": sent["nonce"]}
        told |= {"fhirUser": f"{BASE}/Practitioner/1", "name": "A Clinician"} | self.changes
        self.claims = {name: value for name, value in told.items() if value is not None}
        self.challenge = sent["code_challenge"]
        back = {"code": "c-1", "state": sent["state"], "iss": self.url} | changes
        return f"{sent['redirect_uri']}?{urlencode({k: v for k, v in back.items() if v is not None})}"

    def exchanged(self, form: dict[str, str]) -> tuple[int, bytes]:
        digest = sha256(form.get("code_verifier", "").encode()).digest()
        if self.answer is not None:
            return self.answer
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != self.challenge or form["code"] != "c-1":
            return 400, b'{"error": "invalid_grant"}'
        head = {"alg": self.alg, "typ": "JWT", "kid": self.key.kid}
        token = jwt.encode(head, self.claims, self.key, algorithms=[self.alg])
        return 200, json.dumps({"id_token": token, "access_token": "a", "token_type": "Bearer"}).encode()


@pytest.fixture
def hospital():
    made = Hospital()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = {
                "/.well-known/openid-configuration": {
                    "issuer": made.url,
                    "jwks_uri": f"{made.url}/jwks",
                    "authorization_endpoint": f"{made.url}/authorize",
                    "token_endpoint": f"{made.url}/token",
                },
                "/jwks": KeySet([RSA, EC]).as_dict(private=False),
            }
            self.say(200, json.dumps(found[self.path]).encode())

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            made.asked.append(form)
            made.headers.append(dict(self.headers))
            self.say(*made.exchanged(form))

        def say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def known():
    """What the operator says of the provider beside where it is."""
    return {"client_secret": SECRET}


@pytest.fixture
def web_settings(web_settings, hospital, known):
    provider = SignInProvider(issuer=hospital.url, client_id="bridge", name="the hospital", **known)
    return web_settings.model_copy(update={"sign_in_providers": (provider,), "allow_private_endpoints": True})


@pytest.fixture
def staff(bridge):
    return add_app(bridge, None, scope="openid fhirUser user/*.rs")


def sent_away(browser: Browser, app, **changes: Any) -> str:
    """Follow the link on the page where one signs in; return where it leads."""
    page = begin(browser, app, **changes)
    assert "Sign in at the hospital" in page.text
    assert page.forms == []  # nobody types a password here
    browser.go(page.text.split('<a href="')[1].split('"')[0].replace("&amp;", "&"))
    return browser.left


def test_who_signed_in_at_the_hospital_comes_back_to_say_what_the_app_may_do(browser, hospital, staff, app, caplog):
    back = hospital.signs_in(sent_away(browser, staff))
    page = browser.go(back)

    assert "A Clinician" in page.text
    browser.submit(page, "/oauth/consent", answer="allow")
    assert browser.left.startswith(f"{CALLBACK}?")
    staff.http = app.test_client()
    tokens = staff.exchange(browser.told["code"]).json
    claims = json.loads(base64.urlsafe_b64decode(tokens["id_token"].split(".")[1] + "=="))
    assert (claims["sub"], claims["fhirUser"]) == (f"{hospital.url}#f3a1", f"{BASE}/Practitioner/1")
    (form,), (headers,) = hospital.asked, hospital.headers
    assert form.keys() == {"grant_type", "code", "redirect_uri", "code_verifier"}
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"bridge:se+same").decode()
    assert not [secret for secret in ("c-1", form["code_verifier"], SECRET) if secret in caplog.text]


def test_who_is_signed_in_already_is_not_sent_there_again(browser, hospital, staff):
    browser.go(hospital.signs_in(sent_away(browser, staff)))

    assert "A Clinician" in begin(browser, staff).text


@pytest.mark.parametrize(
    ("changes", "prompt"),
    [
        ({}, None),
        ({"prompt": "login"}, "login"),
        ({"prompt": "select_account"}, "select_account"),
        ({"max_age": "0"}, "login"),
    ],
)
def test_what_the_app_wants_asked_anew_is_asked_anew_there(browser, staff, changes, prompt):
    sent = dict(parse_qsl(urlsplit(sent_away(browser, staff, **changes)).query))
    assert sent.get("prompt") == prompt
    assert sent["scope"] == "openid profile"


def test_an_answer_is_used_once_and_in_the_browser_that_left(browser, hospital, staff, app):
    back = hospital.signs_in(sent_away(browser, staff))
    stranger = Browser(app.test_client()).go(back)
    assert stranger.status == 400
    assert hospital.asked == []
    assert browser.go(back).status == 200
    again = browser.go(back)
    assert (again.status, len(hospital.asked)) == (403, 1)
    assert "used already" in again.text


def refused(browser: Browser, hospital: Hospital, staff, **changes: Any):
    page = browser.go(hospital.signs_in(sent_away(browser, staff), **changes))
    assert "Sign in at the hospital" in page.text  # and may try again
    assert f"{BASE}/Practitioner" not in page.text
    return page


@pytest.mark.parametrize(
    "changes",
    [
        {"code": None},
        {"code": None, "error": "access_denied"},
        {"code": "another"},
        {"iss": "https://evil.example"},
    ],
)
def test_who_comes_back_without_a_good_answer_is_not_let_in(browser, hospital, staff, changes):
    assert refused(browser, hospital, staff, **changes).status == 403


def test_a_state_of_another_sign_in_is_refused(browser, hospital, staff):
    first = dict(parse_qsl(urlsplit(sent_away(browser, staff)).query))["state"]
    second = sent_away(browser, staff)
    visit = dict(parse_qsl(urlsplit(second).query))["state"].split(".")[0]
    page = browser.go(hospital.signs_in(second, state=f"{visit}.{first.split('.')[1]}"))
    assert (page.status, hospital.asked) == (403, [])


@pytest.mark.parametrize("state", [None, "", "x", "..", "é"])
def test_a_state_of_nobody_is_refused(browser, hospital, staff, state):
    page = browser.go(hospital.signs_in(sent_away(browser, staff), state=state))
    assert (page.status, hospital.asked) == (400, [])


SPOILED = {
    "another issuer": {"iss": "https://evil.example"},
    "another audience": {"aud": "another"},
    "audiences without us": {"aud": ["a", "b"]},
    "authorized for another": {"aud": ["bridge", "b"], "azp": "b"},
    "no nonce": {"nonce": None},
    "another nonce": {"nonce": "n"},
    "expired": {"exp": 1},
    "exp missing": {"exp": None},
    "of the future": {"iat": 4_000_000_000},
    "an access token of Keycloak's": {"typ": "Bearer"},
    "sub missing": {"sub": None},
    "sub a number": {"sub": 1},
    "sub too long": {"sub": "s" * 256},
    "no resource": {"fhirUser": None},
    "a resource elsewhere": {"fhirUser": "https://elsewhere/fhir/Practitioner/1"},
    "a resource of another type": {"fhirUser": "Device/1"},
    "a resource that is a path": {"fhirUser": "Practitioner/../Patient/1"},
    "a resource that is no text": {"fhirUser": ["Practitioner/1"]},
}


@pytest.mark.parametrize("what", SPOILED)
def test_an_id_token_that_says_something_else_lets_nobody_in(browser, hospital, staff, what):
    hospital.changes = SPOILED[what]
    assert refused(browser, hospital, staff).status == 403


@pytest.mark.parametrize(("key", "alg"), [(STRANGER, "RS256"), (RSA, "RS384"), (EC, "ES256")])
def test_an_id_token_is_signed_by_the_keys_and_the_algorithm_of_the_provider(browser, hospital, staff, key, alg):
    hospital.key, hospital.alg = key, alg
    assert refused(browser, hospital, staff).status == 403


@pytest.mark.parametrize("answer", [b"{}", b"[]", b'{"id_token": 1}', b'{"id_token": "a.b.c"}'])
def test_a_provider_that_gives_no_id_token_lets_nobody_in(browser, hospital, staff, answer):
    hospital.answer = 200, answer
    assert refused(browser, hospital, staff).status == 403


def test_an_id_token_without_a_signature_lets_nobody_in(browser, hospital, staff):
    back = hospital.signs_in(sent_away(browser, staff))
    head, payload = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none", "typ": "JWT", "kid": "rsa"}, hospital.claims)
    )
    by_mac = hmac.digest(SECRET.encode(), f"{head}.{payload}".encode(), "sha256")
    for sig in ("", base64.urlsafe_b64encode(by_mac).decode().rstrip("=")):
        hospital.answer = 200, json.dumps({"id_token": f"{head}.{payload}.{sig}"}).encode()
        assert browser.go(back).status == 403
        back = hospital.signs_in(sent_away(browser, staff))


@pytest.mark.parametrize("answer", [(200, b"no JSON"), (200, b"x" * 70_000)])
def test_a_provider_that_does_not_answer_is_told_from_one_that_refuses(browser, hospital, staff, answer):
    hospital.answer = answer
    page = refused(browser, hospital, staff)
    assert (page.status, page.headers["Retry-After"]) == (503, "10")


def test_a_password_of_the_bridges_own_lets_nobody_in_where_the_hospital_asks(browser, staff, bridge):
    add_user(bridge)
    page = begin(browser, staff)
    ask = page.text.split("?ask=")[1].split('"')[0]
    answer = browser.go("/oauth/sign-in", data={"ask": ask, "name": "holm", "password": "correct horse"})
    assert answer.status == 403
    assert "sign in there" in answer.text


def test_a_patient_who_signs_in_at_the_hospital_gets_no_further_than_their_own_record(browser, hospital, staff):
    hospital.changes = {"fhirUser": "Patient/p"}
    page = browser.go(hospital.signs_in(sent_away(browser, staff)))
    assert "user/*.rs" not in page.scopes


class TestAnotherTenant:
    """A provider of one tenant says nothing of another's people."""

    @pytest.fixture
    def known(self):
        return {"tenant": "elsewhere", "algorithms": "ES256"}

    def test_people_of_other_tenants_sign_in_here(self, browser, staff):
        page = begin(browser, staff)
        assert page.form("/oauth/sign-in")
        ask = page.form("/oauth/sign-in")["fields"][0]["value"]
        assert browser.go(f"/oauth/sign-in/away?ask={ask}").status == 404

    def test_a_client_without_a_secret_names_itself(self, browser, hospital, bridge, other_ehr):
        assert other_ehr.token  # of the tenant elsewhere
        hospital.key, hospital.alg = EC, "ES256"
        there = add_app(bridge, None, scope="openid user/*.rs", tenant="elsewhere")
        page = browser.go(hospital.signs_in(sent_away(browser, there), iss=None))
        assert page.status == 200
        assert hospital.asked[0]["client_id"] == "bridge"
        assert "Authorization" not in hospital.headers[0]


def test_what_a_first_sign_in_needs_may_be_tried(app):
    tried = app.extensions["fhir-bridge-tokens"].providers["default"].tried()
    assert tried == "lets people sign in, 2 keys"


def test_a_provider_that_is_away_is_a_503(web_settings, staff):
    away = SignInProvider(issuer="http://127.0.0.1:9", client_id="bridge")
    app = create_app(web_settings.model_copy(update={"sign_in_providers": (away,)}))
    browser = Browser(app.test_client())
    page = begin(browser, staff)
    answer = browser.go(page.text.split('<a href="')[1].split('"')[0])
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    app.extensions["fhir-bridge"].store.close()
