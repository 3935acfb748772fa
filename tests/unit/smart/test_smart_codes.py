"""Codes and refresh tokens, apart from the store: who may hand them in, for what, how often."""

import pytest
from joserfc import jwt
from smart_forging import at_now
from smart_pledges import IDENTITY, VERIFIER, Pledges, approved, desk_of

from fhir_bridge.smart import keys
from fhir_bridge.smart.approval import Person
from fhir_bridge.smart.client import Client, secret_hash
from fhir_bridge.smart.codes import tokens_of
from fhir_bridge.smart.flows import token_response
from fhir_bridge.smart.grant import Grant
from fhir_bridge.smart.inspection import introspected, revoked
from fhir_bridge.smart.password import hashed, is_right
from fhir_bridge.smart.scope import within
from fhir_bridge.smart.token import Place

PLACE = Place("https://bridge.example", "https://bridge.example/fhir")
SIGNING = keys.generate("ES384")
CALLBACK = ("https://app.example/callback",)
CLIENTS = {
    client.id: client
    for client in (
        Client("app", "default", "openid fhirUser patient/*.rs", redirect_uris=CALLBACK),
        Client("other", "default", "patient/*.rs", redirect_uris=CALLBACK),
        Client("ehr", "default", "system/*.rs", secret_hash=secret_hash("secret")),
        Client("away", "elsewhere", "system/*.rs", secret_hash=secret_hash("secret")),
    )
}
EHR = {"client_id": "ehr", "client_secret": "secret"}


class Bench:
    """A desk with one code on it."""

    def __init__(self, **changes):
        self.pledges = Pledges()
        self.approval = approved(**changes)
        self.pledges.add("code", self.approval)
        self.desk = desk_of(CLIENTS.get, SIGNING, place=PLACE, pledges=self.pledges)

    def ask(self, **form):
        with at_now():
            return token_response(self.desk, {"client_id": "app", **form}, {})

    def exchange(self, **form):
        right = {"code": "code", "redirect_uri": CALLBACK[0], "code_verifier": VERIFIER}
        return self.ask(grant_type="authorization_code", **right | form)

    def refresh(self, token, **form):
        return self.ask(grant_type="refresh_token", refresh_token=token, **form)

    def look(self, token, bearer=None, **form):
        with at_now():
            return introspected(self.desk, {"token": token, **(form or ({} if bearer else EHR))}, {}, bearer)

    def take_back(self, token, **form):
        with at_now():
            return revoked(self.desk, {"token": token, "client_id": "app", **form}, {})


def test_a_code_becomes_tokens_once():
    bench = Bench(scope="openid fhirUser profile patient/*.rs online_access", nonce="n")
    answer = bench.exchange()
    assert answer.status == 200
    claims = jwt.decode(answer.body["id_token"], IDENTITY.key, algorithms=["RS256"]).claims
    url = "https://bridge.example/fhir/Practitioner/holm"
    assert (claims["nonce"], claims["fhirUser"], claims["profile"], claims["sub"]) == ("n", url, url, "holm")

    again = bench.exchange()
    assert (again.status, again.body["error"]) == (400, "invalid_grant")
    assert bench.approval.id in bench.pledges.revoked


def test_of_two_at_the_same_time_the_second_gets_nothing():
    bench = Bench()
    ticket = bench.desk.approvals.by_code(next(iter(bench.pledges.tickets)))
    with at_now():
        assert tokens_of(bench.desk, ticket, bench.approval.scope)["access_token"]
        with pytest.raises(Exception, match="invalid_grant"):
            tokens_of(bench.desk, ticket, bench.approval.scope)


def test_who_has_no_resource_is_named_without_one():
    answer = Bench(person=Person("clerk", "default"), scope="openid fhirUser").exchange()
    claims = jwt.decode(answer.body["id_token"], IDENTITY.key, algorithms=["RS256"]).claims
    assert claims["sub"] == "clerk"
    assert claims.keys().isdisjoint({"fhirUser", "profile", "nonce"})
    assert "id_token" not in Bench(scope="patient/*.rs").exchange().body


def test_refresh_tokens_rotate():
    bench = Bench(scope="patient/*.rs offline_access")
    first = bench.exchange().body
    second = bench.refresh(first["refresh_token"]).body
    assert second["refresh_token"] != first["refresh_token"]
    assert bench.refresh(second["refresh_token"], scope="patient/Media.rs").body["scope"] == "patient/Media.rs"
    assert bench.refresh(first["refresh_token"]).body["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"refresh_token": None}, "invalid_request"),
        ({"refresh_token": "nothing"}, "invalid_grant"),
        ({"client_id": "other"}, "invalid_grant"),
        ({"client_id": "ehr", "client_secret": "secret"}, "unauthorized_client"),
        ({"scope": "patient/*.cruds"}, "invalid_scope"),
    ],
)
def test_a_refresh_that_is_not_right_is_refused(form, error):
    bench = Bench(scope="patient/*.rs offline_access")
    sent = {"refresh_token": bench.exchange().body["refresh_token"], **form}
    token = sent.pop("refresh_token")
    answer = bench.refresh(token, **sent) if token else bench.ask(grant_type="refresh_token")
    assert answer.body["error"] == error


def test_a_token_is_looked_into_by_those_of_its_tenant():
    bench = Bench(scope="openid fhirUser patient/*.rs offline_access")
    body = bench.exchange().body
    token = body["access_token"]
    told = bench.look(token).body
    assert (told["active"], told["sub"], told["patient"]) == (True, "holm", "anna")
    assert told["fhirUser"] == "https://bridge.example/fhir/Practitioner/holm"
    inactive = {"active": False}
    assert bench.look(token, client_id="away", client_secret="secret").body == inactive
    assert bench.look(token, Grant("default", "app", "")).body["active"]
    assert bench.look(token, Grant("default", "app", "", issuer="https://other.example")).body["active"]
    assert bench.look(body["refresh_token"], Grant("default", "app", "")).body["active"]
    assert (
        bench.look(body["refresh_token"], Grant("default", "app", "", issuer="https://other.example")).body == inactive
    )
    assert bench.look(body["refresh_token"]).body == inactive
    assert bench.look("nothing").body == inactive
    assert bench.look("", **EHR).body["error"] == "invalid_request"
    assert bench.look(token, client_id="app").status == 401


def test_what_was_taken_back_is_not_good():
    bench = Bench(scope="patient/*.rs offline_access")
    body = bench.exchange().body
    assert bench.take_back(body["access_token"], client_id="other").body["error"] == "invalid_grant"
    assert bench.take_back(body["refresh_token"], client_id="other").body["error"] == "invalid_grant"
    assert bench.take_back("nothing").status == 200
    assert bench.take_back("x", client_id="nobody").status == 401
    assert bench.look(body["access_token"]).body["active"]
    assert bench.take_back(body["access_token"]).status == 200
    assert not bench.look(body["access_token"]).body["active"]
    assert bench.take_back(body["refresh_token"]).status == 200
    assert bench.refresh(body["refresh_token"]).body["error"] == "invalid_grant"


def test_a_backends_token_is_looked_into_too():
    bench = Bench()
    with at_now():
        own = token_response(bench.desk, {"grant_type": "client_credentials", "scope": "system/*.rs", **EHR}, {})
    told = bench.look(own.body["access_token"]).body
    assert (told["active"], told["client_id"], told["sub"]) == (True, "ehr", "ehr")
    assert "fhirUser" not in told


@pytest.mark.parametrize(
    ("less", "given", "is_within"),
    [
        ("openid", "openid patient/*.rs", True),
        ("patient/Media.rs patient/Media.r", "patient/*.rs", True),
        ("patient/*.read", "patient/*.rs", True),
        ("patient/*.rs", "patient/Media.rs patient/Task.rs", False),
        ("patient/*.rs", "user/*.rs", False),
        ("launch", "openid", False),
        ("nonsense", "openid", False),
        ("", "openid", True),
    ],
)
def test_less_is_within_what_was_given(less, given, is_within):
    assert within(less, given) is is_within


def test_a_password_is_right_or_not():
    kept = hashed("secret")
    assert is_right("secret", kept)
    assert not is_right("Secret", kept)
    assert not is_right("secret", None)
    assert not is_right("secret", "no hash")
