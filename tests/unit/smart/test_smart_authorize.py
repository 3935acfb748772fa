"""An authorization request is read whole, or refused: to the person where the app is not known, else to the app."""

import pytest
from smart_forging import SECOND, at_now

from fhir_bridge.errors import OAuthError, SentBack
from fhir_bridge.smart.approval import Ask, Context, digest_of
from fhir_bridge.smart.authorize import LONGEST, House, Launched, asked, back
from fhir_bridge.smart.client import Client

BASE = "https://bridge.example/fhir"
CALLBACK = "https://app.example/callback?kept=1"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
CLIENTS = {
    "app": Client("app", "default", "launch openid patient/*.rs system/*.rs", redirect_uris=(CALLBACK, "app:/cb")),
    "plain": Client("plain", "default", "patient/*.rs", redirect_uris=(CALLBACK,)),
    "backend": Client("backend", "default", "system/*.rs", secret_hash="x"),
}
LAUNCHES = {
    "here": Launched("default", Context(patient="anna")),
    "there": Launched("elsewhere", Context(patient="anna")),
}
HOUSE = House(CLIENTS.get, LAUNCHES.get, BASE)
RIGHT = {
    "response_type": "code",
    "client_id": "app",
    "redirect_uri": CALLBACK,
    "scope": "openid patient/*.rs",
    "state": "s",
    "aud": BASE,
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def ask(**changes):
    sent = RIGHT | changes
    lists = {name: value if isinstance(value, list) else [value] for name, value in sent.items() if value is not None}
    with at_now():
        return asked(lists, HOUSE)


def test_a_request_in_order_is_read():
    assert ask() == Ask("app", "default", CALLBACK, "openid patient/*.rs", CHALLENGE, state="s")
    assert Ask.read(ask(nonce="n", prompt="login consent", launch="here", scope="launch").text()) == ask(
        nonce="n", prompt="login consent", launch="here", scope="launch"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": f"{BASE}/"},
        {"aud": None, "resource": BASE},
        {"resource": BASE},
        {"response_mode": "query"},
        {"state": None},
        {"unknown": "x"},
        {"redirect_uri": "app:/cb"},
    ],
)
def test_what_means_the_same_is_read_too(changes):
    assert ask(**changes).scope == "openid patient/*.rs"


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": "nobody"},
        {"client_id": ["app", "app"]},
        {"client_id": "backend"},
        {"redirect_uri": None},
        {"redirect_uri": ""},
        {"redirect_uri": [CALLBACK, CALLBACK]},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": CALLBACK.upper()},
        {"redirect_uri": f"{CALLBACK}&more=1"},
        {"redirect_uri": "https://app.example/callback"},
    ],
)
def test_an_app_that_is_not_known_is_told_nothing(changes):
    with pytest.raises(OAuthError) as refused:
        ask(**changes)
    assert not isinstance(refused.value, SentBack)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_type": ["code", "code"]}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"request": "a.b.c"}, "request_not_supported"),
        ({"request_uri": "https://evil.example"}, "request_uri_not_supported"),
        ({"aud": None}, "invalid_request"),
        ({"aud": "https://other.example/fhir"}, "invalid_request"),
        ({"aud": [BASE, BASE]}, "invalid_request"),
        ({"resource": "https://other.example/fhir"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": CHALLENGE + "="}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "system/*.rs"}, "invalid_scope"),
        ({"scope": "user/*.rs nonsense"}, "invalid_scope"),
        ({"scope": "launch"}, "invalid_scope"),
        ({"scope": ["openid", "openid"]}, "invalid_request"),
        ({"launch": "nothing"}, "invalid_request"),
        ({"launch": "there"}, "invalid_request"),
        ({"launch": "here"}, "invalid_scope"),
        ({"launch": "here", "scope": "launch", "client_id": "plain"}, "invalid_scope"),
        ({"nonce": "x" * (LONGEST + 1)}, "invalid_request"),
        ({"nonce": "a\nb"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "create"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
    ],
)
def test_an_app_that_is_known_learns_what_was_wrong(changes, error):
    with pytest.raises(SentBack) as refused:
        ask(**changes)
    assert (refused.value.error, refused.value.redirect_uri, refused.value.state) == (error, CALLBACK, "s")
    assert refused.value.text.isascii()
    assert refused.value.text.isprintable()


@pytest.mark.parametrize("state", [["a", "b"], "a\0b", "x" * (LONGEST + 1)])
def test_a_state_that_cannot_be_given_back_is_not(state):
    with pytest.raises(SentBack) as refused:
        ask(state=state)
    assert (refused.value.error, refused.value.state) == ("invalid_request", None)


def test_what_an_ehr_launched_is_the_context():
    found = ask(launch="here", scope="launch patient/*.rs")
    assert found.context == Context(patient="anna")
    assert found.launch == digest_of("here")
    assert found.scope == "launch patient/*.rs"
    assert ask(scope="launch patient/*.rs").scope == "patient/*.rs"  # opened by itself


@pytest.mark.parametrize(
    ("changes", "not_before"),
    [
        ({}, 0.0),
        ({"prompt": "consent"}, 0.0),
        ({"prompt": "login"}, SECOND),
        ({"prompt": "select_account"}, SECOND),
        ({"max_age": "60"}, SECOND - 60),
    ],
)
def test_an_app_says_how_long_ago_a_person_may_have_signed_in(changes, not_before):
    assert ask(**changes).not_before == pytest.approx(not_before, abs=1)


def test_a_redirect_uri_keeps_its_own_query():
    assert back(CALLBACK, code="a b", state=None) == "https://app.example/callback?kept=1&code=a+b"
    assert back("app:/cb", error="x", state="ü&") == "app:/cb?error=x&state=%C3%BC%26"
