from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import KeySet


def test_client_credentials_give_a_token_of_300_seconds_that_its_published_key_verifies(call, sandbox):
    answer = call.grant(grant_type="client_credentials", scope="openid")

    grant = answer.json()
    configuration = requests.get(f"{sandbox.url}/realms/base/.well-known/openid-configuration", timeout=5).json()
    keys = KeySet.import_key_set(requests.get(configuration["jwks_uri"], timeout=5).json())
    claims = jwt.decode(grant["access_token"], keys, algorithms=["RS256"]).claims
    assert (grant["expires_in"], grant["token_type"], grant["not-before-policy"]) == (300, "Bearer", 0)
    assert claims["iss"] == configuration["issuer"] == f"{sandbox.url}/realms/base"
    assert claims["exp"] - claims["iat"] == 300
    assert "id_token" in grant
    assert "refresh_token" not in grant


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"client_secret": "wrong"}, 401, "unauthorized_client"),
        ({"grant_type": "magic"}, 400, "unsupported_grant_type"),
        ({"grant_type": "password"}, 401, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "invalid_grant"),
        ({"grant_type": "authorization_code", "code": "x"}, 400, "invalid_grant"),
    ],
)
def test_a_refused_grant_is_answered_as_keycloak_does(call, form, status, error):
    answer = call.grant(**{"grant_type": "client_credentials", **form})

    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["error_description"]


def test_the_secret_may_come_by_basic_authentication(sandbox):
    answer = requests.post(
        f"{sandbox.url}/realms/base/protocol/openid-connect/token",
        data={"grant_type": "client_credentials"},
        auth=(sandbox.client_id, sandbox.client_secret),
        timeout=5,
    )

    assert answer.status_code == 200


def test_a_user_grant_can_be_refreshed_by_its_own_client_only(call, sandbox):
    grant = call.grant(grant_type="password", username="ada", password="x", client_secret=None).json()

    again = call.grant(grant_type="refresh_token", refresh_token=grant["refresh_token"])
    sandbox.state.clients["other"] = "secret"
    foreign = call.grant(
        grant_type="refresh_token", refresh_token=grant["refresh_token"], client_id="other", client_secret="secret"
    )

    assert grant["refresh_expires_in"] == 1800
    assert again.json()["access_token"] != grant["access_token"]
    assert foreign.json()["error"] == "invalid_grant"


def test_the_code_flow_with_pkce_works_for_the_one_user_there_is(call, sandbox):
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": sandbox.client_id,
        "redirect_uri": "http://localhost/back",
        "state": "s",
        "code_challenge": challenge,
    }
    url = f"{sandbox.url}/realms/base/protocol/openid-connect/auth"

    def code():
        back = requests.get(url, params=query, allow_redirects=False, timeout=5).headers["Location"]
        assert parse_qs(urlsplit(back).query)["state"] == ["s"]
        return parse_qs(urlsplit(back).query)["code"][0]

    form = {"grant_type": "authorization_code", "redirect_uri": "http://localhost/back", "client_secret": None}
    good = call.grant(**form, code=code(), code_verifier=verifier)
    bad = call.grant(**form, code=code(), code_verifier="w" * 43)

    assert good.status_code == 200
    assert bad.json()["error"] == "invalid_grant"
    assert requests.get(url, params={"client_id": "nobody"}, timeout=5).status_code == 400


def test_a_401_has_no_body_and_says_why_in_its_header(call):
    for token in ("nonsense", call.grant(grant_type="client_credentials").json()["id_token"]):
        answer = call("GET", "/interactions/", headers={"Authorization": f"Bearer {token}"})

        assert (answer.status_code, answer.content) == (401, b"")
        assert answer.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token", error_description="')
    assert call("GET", "/interactions/", headers={"Authorization": None}).status_code == 401


def test_a_token_of_another_issuer_or_past_its_time_is_refused(call, sandbox):
    sandbox.switches.token_seconds = -1
    expired = call.grant(grant_type="client_credentials").json()["access_token"]
    refresh = call.grant(grant_type="password", username="a", password="b").json()["refresh_token"]

    assert (
        "expired"
        in call("GET", "/interactions/", headers={"Authorization": f"Bearer {expired}"}).headers["WWW-Authenticate"]
    )
    assert call("GET", "/interactions/", headers={"Authorization": f"Bearer {refresh}"}).status_code == 401


def test_a_missing_or_foreign_tenant_is_403_not_401(call, callers, sandbox):
    assert call("GET", "/interactions/", headers={"Tenant-Name": None}).status_code == 403
    assert call("GET", "/interactions/", headers={"Tenant-Name": "other"}).status_code == 403
    assert callers(sandbox, tenant="other")("GET", "/interactions/").status_code == 200


def test_a_limited_token_opens_its_own_socket_and_nothing_else(call, callers, sandbox):
    limited = callers(sandbox, scope="openid streams")
    interaction = call.create()

    assert limited("GET", "/interactions/").status_code == 403
    assert limited.live(interaction)
