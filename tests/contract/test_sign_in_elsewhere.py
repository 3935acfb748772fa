"""An app at a running `serve` whose people sign in at a real Keycloak, or at npm oidc-provider: there and back."""

from __future__ import annotations

import base64
import json
import re
import secrets
import socket
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import keycloak_server
import pytest
import requests
from serving import Served, serving
from test_oidc_provider import INTEROP, NODE, Form, oidc_provider, signed_in
from test_oidc_provider import SECRET as OIDC_SECRET

from fhir_bridge.cli.client import Proof, registered
from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import oauth

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.interop, pytest.mark.timeout(500)]

APP = "https://app.example/callback"
SCOPE = "launch/patient openid fhirUser patient/*.rs user/Practitioner.rs"


@dataclass(frozen=True)
class House:
    """A running bridge, a provider its people sign in at, what they type there, and who they are then."""

    served: Served
    issuer: str
    types: dict[str, str]
    sub: str | None
    user: str

    @property
    def url(self) -> str:
        return self.served.url


@contextmanager
def keycloak(port: int) -> Iterator[tuple[dict[str, str], dict[str, str], str | None, str]]:
    with keycloak_server.running(f"http://127.0.0.1:{port}/fhir") as running:
        known = {"issuer": running.issuer(), "client_secret": keycloak_server.SECRET, "scope": "openid"}
        types = {"username": "clinician", "password": keycloak_server.PASSWORD}
        yield known, types, None, "Practitioner/1"


@contextmanager
def npm(port: int) -> Iterator[tuple[dict[str, str], dict[str, str], str | None, str]]:
    with oidc_provider(f"http://127.0.0.1:{port}/oauth/sign-in/back") as issuer:
        known = {"issuer": issuer, "client_secret": OIDC_SECRET, "algorithms": "ES256", "scope": "openid"}
        yield known, {"login": "holm"}, "holm", "Practitioner/holm"


def place(there: Any, *, is_there: bool, needs: str) -> Any:
    return pytest.param(there, id=there.__name__, marks=pytest.mark.skipif(not is_there, reason=needs))


PLACES = [
    place(keycloak, is_there=keycloak_server.is_there(), needs="needs Java and Keycloak: run `make interop`"),
    place(npm, is_there=bool(NODE) and (INTEROP / "node_modules").is_dir(), needs="needs node: run `make interop`"),
]


@pytest.fixture(scope="module", params=PLACES)
def house(request, tmp_path_factory) -> Iterator[House]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    with ExitStack() as stack:
        known, types, sub, user = stack.enter_context(request.param(port))
        told = [{"client_id": "bridge", "tenant": "north", "name": "the hospital"} | known]
        settings = {"sign_in_providers": json.dumps(told), "allow_private_endpoints": "true"}
        folder = tmp_path_factory.mktemp("serve")
        served = stack.enter_context(serving(folder, "--sandbox", "--port", str(port), **settings))
        with served.store() as store:
            store.write(lambda conn: oauth.add_tenant(conn, oauth.new_tenant("north", KeyRing.open(served.settings))))
        yield House(served, known["issuer"], types, sub, user)


def ehr(house: House, tenant: str) -> requests.Session:
    """Return what speaks FHIR for an EHR of a tenant."""
    with house.served.store() as store:
        made = registered(store, "EHR", Proof(secret=True), scope="system/*.cruds", tenant=tenant)
    asked = {"grant_type": "client_credentials", "scope": "system/*.cruds"}
    who = (str(made["client_id"]), str(made["client_secret"]))
    token = requests.post(f"{house.url}/oauth/token", data=asked, auth=who, timeout=20).json()["access_token"]
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    return session


def create(house: House, tenant: str, family: str) -> str:
    patient = {"resourceType": "Patient", "name": [{"family": family}]}
    made = ehr(house, tenant).post(f"{house.url}/fhir/Patient", json=patient, timeout=20)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def asks(house: House, verifier: str) -> dict[str, str]:
    """Register an app of the tenant north; return what it asks."""
    with house.served.store() as store:
        made = registered(store, "Heart", Proof(), scope=SCOPE, tenant="north", redirects=(APP,))
    challenge = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
    return {
        "response_type": "code",
        "client_id": str(made["client_id"]),
        "redirect_uri": APP,
        "scope": SCOPE,
        "state": "state of the app",
        "aud": f"{house.url}/fhir",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }


def come_back(house: House, person: requests.Session, asked: dict[str, str], **types: str) -> requests.Response:
    """Go from the app to the bridge, from there to the provider, type what is asked there, and come back."""
    page = person.get(f"{house.url}/oauth/authorize", params=asked, timeout=20)
    assert "Sign in at the hospital" in page.text
    link = re.search(r'<a href="([^"]+)"', page.text)
    assert link, page.text
    away = person.get(house.url + unescape(link[1]), timeout=20, allow_redirects=False)
    assert away.headers["Location"].startswith(house.issuer)
    back = signed_in(away.headers["Location"], person, f"{house.url}/oauth/sign-in/back", **house.types | types)
    return person.get(back, timeout=20)


def submit(house: House, person: requests.Session, page: requests.Response, action: str, **filled: Any) -> Any:
    form = Form(page.text, action)
    sent = {name: value for name, value in form.fields.items() if name not in {"scope", "patient"}}
    return person.post(house.url + form.action, data=sent | filled, timeout=20, allow_redirects=False)


def test_an_app_gets_a_token_for_who_signed_in_there_and_for_their_tenant(house):
    anna, elsewhere = create(house, "north", "Anna"), create(house, "default", "Berta")
    person, verifier = requests.Session(), secrets.token_hex(32)
    asked = asks(house, verifier)

    page = come_back(house, person, asked)
    assert "Anna" in page.text
    assert "Berta" not in page.text
    chosen = page.text.index('action="/oauth/patient">')  # the second: the first searches
    page = person.post(
        f"{house.url}/oauth/patient",
        data=Form(page.text[chosen - 20 :], "/oauth/patient").fields | {"patient": anna},
        timeout=20,
    )
    granted = re.findall(r'name="scope" value="([^"]*)"', page.text)
    left = submit(house, person, page, "/oauth/consent", scope=granted, answer="allow")
    assert left.headers["Location"].startswith(f"{APP}?")
    told = parse_qs(urlsplit(left.headers["Location"]).query)
    assert told["state"] == ["state of the app"]

    form = {"grant_type": "authorization_code", "code": told["code"][0], "redirect_uri": APP}
    form |= {"client_id": asked["client_id"], "code_verifier": verifier}
    answer = requests.post(f"{house.url}/oauth/token", data=form, timeout=20)
    assert answer.status_code == 200, answer.text
    given = answer.json()
    assert (given["patient"], set(given["scope"].split())) == (anna, set(SCOPE.split()))
    payload = given["id_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["fhirUser"] == f"{house.url}/fhir/{house.user}"
    assert claims["sub"].startswith(f"{house.issuer}#")
    assert house.sub in {None, claims["sub"].rpartition("#")[2]}

    sent = {"Authorization": f"Bearer {given['access_token']}"}
    read = {id_: requests.get(f"{house.url}/fhir/Patient/{id_}", headers=sent, timeout=20) for id_ in (anna, elsewhere)}
    assert (read[anna].status_code, read[elsewhere].status_code) == (200, 404)
    looked = requests.post(
        f"{house.url}/oauth/introspect", data={"token": given["access_token"]}, headers=sent, timeout=20
    ).json()
    assert (looked["active"], looked["fhirUser"], looked["patient"]) == (True, claims["fhirUser"], anna)


def test_who_denies_the_app_after_signing_in_there_leaves_it_without_a_code(house):
    person = requests.Session()
    create(house, "north", "Clara")
    page = come_back(house, person, asks(house, secrets.token_hex(32)))

    left = submit(house, person, page, "/oauth/consent", answer="deny")

    told = parse_qs(urlsplit(left.headers["Location"]).query)
    assert (told["error"], told["state"], told.keys() & {"code"}) == (["access_denied"], ["state of the app"], set())


@pytest.mark.parametrize("house", PLACES[:1], indirect=True)  # npm oidc-provider names one for everybody
def test_who_the_provider_names_no_resource_for_gets_no_further(house):
    page = come_back(house, requests.Session(), asks(house, secrets.token_hex(32)), username="nobody")
    assert page.status_code == 403
    assert "does not say which resource here stands for this person" in page.text
