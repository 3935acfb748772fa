"""A real Keycloak as outside issuer, by its keys and by introspection, and in the place of Corti's own login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keycloak_server
import pytest
import requests
from keycloak_server import PASSWORD, SECRET
from test_oidc_provider import signed_in

from fhir_bridge.app import create_app
from fhir_bridge.corti.endpoint import Endpoint
from fhir_bridge.corti.token import TokenSource
from fhir_bridge.errors import CortiLoginFailed
from fhir_bridge.smart.compact import Refused
from fhir_bridge.smart.provider import Provider
from fhir_bridge.trusted import SignInProvider, TrustedIssuer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not keycloak_server.is_there(), reason="needs Java and Keycloak: run `make interop`"),
]
ORIGIN = "http://127.0.0.1:8080"
BASE = f"{ORIGIN}/fhir"


@pytest.fixture(scope="module")
def keycloak() -> Iterator[keycloak_server.Keycloak]:
    with keycloak_server.running(BASE) as found:
        yield found


@pytest.fixture
def trusting(sqlite_settings, keycloak) -> Iterator[Callable[..., Flask]]:
    """Make bridges that trust it."""
    made = []

    def make(**about: Any) -> Flask:
        trusted = TrustedIssuer(issuer=keycloak.issuer(), **about)
        changes = {"public_url": ORIGIN, "allow_private_endpoints": True, "trusted_issuers": (trusted,)}
        made.append(create_app(sqlite_settings.model_copy(update=changes)))
        return made[-1]

    yield make
    for app in made:
        app.extensions["fhir-bridge"].store.close()


ASKS = {"verify": "introspection", "client_id": "bridge", "client_secret": SECRET}
WAYS = pytest.mark.parametrize("about", [{}, ASKS], ids=["by its keys", "by introspection"])


def use(app: Flask, token: str, method: str = "GET", path: str = "Encounter", body: Any = None):
    headers = {"Authorization": f"Bearer {token}"}
    return app.test_client().open(f"/fhir/{path}", method=method, json=body, headers=headers)


@WAYS
def test_a_backend_s_token_opens_what_its_scopes_say(trusting, keycloak, about):
    app = trusting(**about)
    reads = keycloak.token("ehr-backend", scope="system/Encounter.rs")["access_token"]
    writes = keycloak.token("ehr-backend", scope="system/*.cruds")["access_token"]

    assert use(app, writes, "POST", "Patient", {"resourceType": "Patient"}).status_code == 201
    assert use(app, reads).status_code == 200
    assert use(app, reads, path="Patient").status_code == 403
    grant = app.extensions["fhir-bridge-tokens"].grant(reads)
    assert (grant.client, grant.tenant) == (f"{keycloak.issuer()}#ehr-backend", "default")
    assert "system/Encounter.rs" in grant.scope.split()


@WAYS
def test_a_person_s_token_says_who_and_for_which_patient(trusting, keycloak, about):
    person = {"grant_type": "password", "username": "clinician", "password": PASSWORD}
    token = keycloak.token("app", scope="user/*.rs patient/*.rs", **person)["access_token"]
    grant = trusting(**about).extensions["fhir-bridge-tokens"].grant(token)
    assert (grant.user, grant.patient) == ("Practitioner/1", "p-1")


@WAYS
def test_what_is_no_access_token_for_us_opens_nothing(trusting, keycloak, about):
    app = trusting(**about)
    person = {"grant_type": "password", "username": "clinician", "password": PASSWORD}
    given = keycloak.token("app", scope="openid user/*.rs", **person)
    offline = keycloak.token("app", scope="openid user/*.rs", **person)["refresh_token"]
    elsewhere = keycloak.token("elsewhere", scope="system/*.cruds")["access_token"]
    corti = keycloak.token("corti-client", "base")["access_token"]
    good = given["access_token"]
    head, _, sig = good.split(".")
    spoiled = f"{head}.{elsewhere.split('.')[1]}.{sig}"

    assert use(app, good).status_code == 200
    refused = [given["id_token"], given["refresh_token"], offline, elsewhere, corti, spoiled, good[:-2]]
    assert [use(app, token).status_code for token in refused] == [401] * len(refused)


def test_a_session_that_ended_ends_an_introspected_token(trusting, keycloak):
    app = trusting(**ASKS, cache_seconds=0)
    person = {"grant_type": "password", "username": "clinician", "password": PASSWORD}
    given = keycloak.token("app", scope="user/*.rs", **person)
    assert use(app, given["access_token"]).status_code == 200
    told = {"client_id": "app", "client_secret": SECRET, "refresh_token": given["refresh_token"]}
    assert requests.post(f"{keycloak.issuer()}/protocol/openid-connect/logout", data=told, timeout=20).ok
    assert use(app, given["access_token"]).status_code == 401


def test_it_gives_tokens_as_corti_s_own_login_does(keycloak):
    corti = Endpoint(api_url="https://api.corti.example", auth_url=keycloak.origin, tenant="base")
    source = TokenSource(corti, "corti-client", SECRET)
    first = source.bearer()
    assert source.bearer() == first
    assert source.renew(first) != first
    with pytest.raises(CortiLoginFailed, match=r"unauthorized_client|invalid_client"):
        TokenSource(corti, "corti-client", "another").bearer()


def test_a_person_signs_in_there(keycloak):
    known = SignInProvider(issuer=keycloak.issuer(), client_id="bridge", client_secret=SECRET, scope="openid")
    provider = Provider(known, ORIGIN, allow_private=True)
    back = signed_in(provider.url("a secret", "visit"), username="clinician", password=PASSWORD)
    with pytest.raises(Refused):
        provider.person("another secret", "visit", back)
    person = provider.person("a secret", "visit", back)
    assert (person.tenant, person.fhir_user) == ("default", "Practitioner/1")
    assert person.name.startswith(f"{keycloak.issuer()}#")
    with pytest.raises(Refused):  # a code is good once
        provider.person("a secret", "visit", back)

    unknown = signed_in(provider.url("secret", "visit"), username="nobody", password=PASSWORD)
    with pytest.raises(Refused, match="which resource here"):
        provider.person("secret", "visit", unknown)
