"""A token of an issuer that is asked counts while that issuer says so, and for a short while after."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from smart_forging import SECOND, at_now, rsa
from smart_issuer import LocalIssuer
from test_smart_outside import BASE, genuine, granted

from fhir_bridge.errors import Expired, IssuerUnavailable, Unauthenticated
from fhir_bridge.smart import introspection_client
from fhir_bridge.smart.outside import Outside
from fhir_bridge.trusted import TrustedIssuer

ACTIVE = {"active": True, "aud": BASE, "client_id": "ehr", "scope": "openid system/Encounter.rs", "exp": SECOND + 300}
OPAQUE = "mF_9.B5f-4.1JqM~+/=="


@pytest.fixture
def local():
    made = LocalIssuer(rsa("unused"))
    made.answers["/introspect"] = dict(ACTIVE)
    yield made
    made.close()


def trusted(issuer: LocalIssuer, **about) -> TrustedIssuer:
    asks = {"verify": "introspection", "client_id": "bridge", "client_secret": "se same:%"}
    return TrustedIssuer(issuer=issuer.url, **(asks | about))


def asking(issuer: LocalIssuer, **about) -> Outside:
    return Outside((trusted(issuer, **about),), base=BASE, allow_private=True)


def questions(issuer: LocalIssuer) -> list[tuple[dict, dict]]:
    return [(headers, form) for path, headers, form in issuer.asked if path == "/introspect"]


def test_a_token_that_nobody_here_can_read_is_asked_about(local):
    with at_now():
        assert asking(local).grant(OPAQUE) == granted(local)
    ((headers, form),) = questions(local)
    assert form == {"token": OPAQUE, "token_type_hint": "access_token"}
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"bridge:se+same%3A%25").decode()
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["Accept"] == "application/json"


def test_a_jwt_is_asked_about_too_when_that_was_chosen_for_its_issuer(local):
    token = genuine(local).token()
    with at_now():
        assert asking(local).grant(token) == granted(local)
    assert questions(local)[0][1]["token"] == token


def test_the_secret_may_stand_in_a_file_be_exchanged_there_and_go_by_form(local, tmp_path):
    file = tmp_path / "secret"
    door = asking(local, client_secret=None, client_secret_file=file, client_auth="client_secret_post", cache_seconds=0)
    with at_now():
        for secret in ("one", "two"):
            file.write_text(f"{secret}\n")
            door.grant(OPAQUE)
        file.unlink()
        with pytest.raises(IssuerUnavailable):
            door.grant(OPAQUE)
    assert [form["client_secret"] for _, form in questions(local)] == ["one", "two"]
    assert all(form["client_id"] == "bridge" and "Authorization" not in headers for headers, form in questions(local))


def test_an_endpoint_that_was_named_needs_no_metadata(local):
    local.answers["/other"] = dict(ACTIVE)
    with at_now():
        assert asking(local, introspection_endpoint=f"{local.origin}/other").grant(OPAQUE) == granted(local)
    assert local.paths() == ["/other"]


def test_an_answer_is_believed_for_a_minute_or_as_long_as_was_set(local):
    for seconds, set_ in ((60, {}), (5, {"cache_seconds": 5})):
        door = asking(local, **set_)
        with at_now() as moved:
            local.answers["/introspect"] = dict(ACTIVE)
            door.grant(OPAQUE)
            local.answers["/introspect"] = {"active": False}
            moved.passed = seconds - 0.5
            assert door.grant(OPAQUE) == granted(local)
            moved.passed = seconds + 0.5
            with pytest.raises(Unauthenticated):
                door.grant(OPAQUE)


def test_no_answer_is_believed_where_none_may_be_kept(local):
    door = asking(local, cache_seconds=0)
    with at_now():
        assert [door.grant(OPAQUE) for _ in range(3)] == [granted(local)] * 3
    assert len(questions(local)) == 3


def test_an_answer_is_not_believed_past_exp(local):
    local.answers["/introspect"]["exp"] = SECOND + 10
    door = asking(local)
    with at_now() as moved:
        door.grant(OPAQUE)
        moved.passed = 10
        with pytest.raises(Expired):
            door.grant(OPAQUE)


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("inactive", {"active": False}),
        ("active a text", {"active": "true"}),
        ("active a number", {"active": 1}),
        ("active missing", {"active": None}),
        ("another issuer", {"iss": "https://evil.example"}),
        ("another audience", {"aud": "https://elsewhere"}),
        ("no audience", {"aud": None}),
        ("no exp", {"exp": None}),
        ("exp a text", {"exp": "later"}),
        ("no client", {"client_id": None}),
        ("no scope", {"scope": None}),
        ("a refresh token", {"token_type": "refresh_token"}),
        ("a refresh token of Keycloak's", {"typ": "Refresh"}),
        ("bound to a key", {"cnf": {"jkt": "x"}}),
    ],
)
def test_a_token_of_which_the_issuer_says_something_else_is_refused(local, what, changes):
    told = {name: value for name, value in (ACTIVE | changes).items() if value is not None}
    local.answers["/introspect"] = told
    with at_now(), pytest.raises(Unauthenticated):
        asking(local).grant(OPAQUE), what


def test_an_issuer_may_leave_the_audience_out_where_the_operator_says_so(local):
    del local.answers["/introspect"]["aud"]
    with at_now():
        assert asking(local, audience=[]).grant(OPAQUE) == granted(local)


@pytest.mark.parametrize("answer", [None, b"", b"no JSON", b"[]", b"7", b"\xff", b"[" * 5000, b"x" * 70_000])
def test_an_issuer_that_says_nothing_is_not_taken_for_one_that_says_no(local, answer):
    local.answers["/introspect"] = answer
    with at_now(), pytest.raises(IssuerUnavailable) as refused:
        asking(local).grant(OPAQUE)
    assert (refused.value.status, refused.value.retry_after) == (503, 5)


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_the_issuer_does_not_take_are_named(local, status):
    local.status = status
    with at_now(), pytest.raises(IssuerUnavailable, match="client_id and secret of the bridge"):
        asking(local, introspection_endpoint=f"{local.origin}/introspect").grant(OPAQUE)


def test_a_slow_issuer_does_not_hold_up_the_whole_bridge(local, monkeypatch):
    monkeypatch.setattr(introspection_client, "AT_ONCE", 2)
    monkeypatch.setattr(introspection_client, "WAIT_SECONDS", 0.05)
    local.wait = 0.6
    door = asking(local, introspection_endpoint=f"{local.origin}/introspect")
    ready = threading.Barrier(6)

    def ask(number: int) -> str:
        ready.wait()
        try:
            return door.grant(f"token-{number}").client
        except IssuerUnavailable as refused:
            return refused.text

    with at_now(), ThreadPoolExecutor(6) as pool:
        told = sorted(pool.map(ask, range(6)))
    assert told == sorted([granted(local).client] * 2 + ["The issuer of the token is slow"] * 4)


def test_a_token_without_a_name_is_shown_to_one_issuer_or_to_none(local):
    other = LocalIssuer(rsa("other"))
    door = Outside((trusted(local), trusted(other)), base=BASE, allow_private=True)
    with at_now(), pytest.raises(Unauthenticated):
        door.grant(OPAQUE)
    assert (local.asked, other.asked) == ([], [])
    other.close()


@pytest.mark.parametrize("text", ["", "a b", "a\nb", "é", "a,b", "=", "x" * 8193])
def test_what_is_no_token_is_not_asked_about(local, text):
    with at_now(), pytest.raises(Unauthenticated):
        asking(local).grant(text)
    assert local.asked == []


def test_nothing_shows_the_secret_or_the_token(local):
    local.answers["/introspect"] = None
    door = asking(local)
    with at_now(), pytest.raises(IssuerUnavailable) as refused:
        door.grant(OPAQUE)
    form = introspection_client.form_of(door.issuers[0].trusted, {"token": OPAQUE})
    shown = f"{refused.value!r} {refused.value.__cause__!r} {door.issuers[0].trusted!r} {form!r}"
    assert not [secret for secret in ("se same", "se+same", OPAQUE) if secret in shown]
