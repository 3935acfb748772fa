import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fhir_bridge.corti.endpoint import endpoint_of
from fhir_bridge.corti.token import TokenSource
from fhir_bridge.errors import CortiLoginFailed, CortiNonsense, CortiThrottled, CortiTimeout, CortiUnavailable

pytestmark = pytest.mark.usefixtures("fake_clock")


def token(name, **more):
    return {"access_token": name, "expires_in": 300, "token_type": "Bearer", "not-before-policy": 0, **more}


def test_the_client_credentials_are_posted_to_the_tenants_realm(http, tokens):
    assert tokens.bearer() == "token-1"

    login = http.logins[0]
    assert login.path == "/realms/base/protocol/openid-connect/token"
    assert login.form == {
        "grant_type": "client_credentials",
        "client_id": "client-1",
        "client_secret": "s3cret&=+ü",
        "scope": "openid",
    }
    assert "Tenant-Name" not in login.headers


def test_a_token_serves_for_three_fifths_of_its_life(tokens, fake_clock):
    assert tokens.bearer() == "token-1"
    fake_clock.passed = 179
    assert tokens.bearer() == "token-1"
    fake_clock.passed = 180
    assert tokens.bearer() == "token-2"


def test_a_token_is_never_used_within_a_minute_of_its_end(http, tokens, fake_clock):
    http.token_life = 100
    assert tokens.bearer() == "token-1"
    fake_clock.passed = 39
    assert tokens.bearer() == "token-1"
    fake_clock.passed = 40
    assert tokens.bearer() == "token-2"


def test_a_token_that_lives_a_minute_is_used_once(http, tokens):
    http.token_life = 60

    assert [tokens.bearer(), tokens.bearer()] == ["token-1", "token-2"]


def test_many_threads_make_one_request(http, tokens):
    together = threading.Barrier(8)

    def ask():
        together.wait()
        return tokens.bearer()

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask) for _ in range(8)]

    assert {one.result() for one in asked} == {"token-1"}
    assert len(http.logins) == 1


def test_a_refused_token_is_renewed_once_for_all_who_hold_it(http, tokens):
    stale = tokens.bearer()

    assert [tokens.renew(stale), tokens.renew(stale)] == ["token-2", "token-2"]
    assert len(http.logins) == 2


def test_renewing_without_a_token_asks_for_one(tokens):
    assert tokens.renew("of another process") == "token-1"


def test_a_fresh_token_is_asked_for_each_time(tokens):
    assert [tokens.bearer(), tokens.fresh(), tokens.fresh()] == ["token-1", "token-2", "token-3"]


def test_a_refresh_token_is_used_while_it_lives(http, tokens, fake_clock, reply):
    http.tokens = [reply(body=token("a", refresh_token="r1", refresh_expires_in=1800)), reply(body=token("b"))]
    assert tokens.bearer() == "a"
    fake_clock.passed = 200
    assert tokens.bearer() == "b"

    assert http.logins[1].form == {
        "grant_type": "refresh_token",
        "refresh_token": "r1",
        "client_id": "client-1",
        "client_secret": "s3cret&=+ü",
        "scope": "openid",
    }


def test_a_refresh_token_past_its_life_is_not_used(http, tokens, fake_clock, reply):
    http.tokens = [reply(body=token("a", refresh_token="r1", refresh_expires_in=230)), reply(body=token("b"))]
    tokens.bearer()
    fake_clock.passed = 200
    tokens.bearer()

    assert http.logins[1].form["grant_type"] == "client_credentials"


def test_a_revoked_refresh_token_leaves_the_secret(http, tokens, fake_clock, reply):
    http.tokens = [
        reply(body=token("a", refresh_token="r1", refresh_expires_in=1800)),
        reply(400, {"error": "invalid_grant", "error_description": "Token is not active"}),
        reply(body=token("b")),
    ]
    tokens.bearer()
    fake_clock.passed = 200

    assert tokens.bearer() == "b"


@pytest.mark.parametrize(
    ("status", "error", "named"),
    [
        (401, "invalid_client", "(invalid_client)"),
        (401, "unauthorized_client", "(unauthorized_client)"),
        (400, "invalid_grant", "(invalid_grant)"),
        (404, "Realm does not exist", "answers 404"),
    ],
)
def test_keycloaks_refusals_are_a_failed_login(http, tokens, reply, status, error, named):
    http.tokens = [reply(status, {"error": error, "error_description": "s3cret"})]

    with pytest.raises(CortiLoginFailed) as failed:
        tokens.bearer()
    assert named in failed.value.text
    assert "s3cret" not in failed.value.text
    assert not failed.value.retry


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b"<html>", CortiLoginFailed),
        (401, b"", CortiLoginFailed),
        (429, {"error": "slow_down"}, CortiThrottled),
        (500, {"error": "unknown_error"}, CortiUnavailable),
        (503, b"<html>", CortiUnavailable),
        (504, b"", CortiTimeout),
        (200, b"<html>", CortiNonsense),
        (200, b"[]", CortiNonsense),
        (200, {"token_type": "Bearer"}, CortiNonsense),
    ],
)
def test_any_other_answer_is_named_for_what_it_is(http, tokens, reply, status, body, kind):
    http.tokens = [reply(status, body)]

    with pytest.raises(kind) as failed:
        tokens.bearer()
    assert type(failed.value) is kind


def test_a_redirect_does_not_get_the_secret(http, tokens, reply):
    http.tokens = [reply(307, None, {"Location": f"{http.url}/realms/elsewhere"})]

    with pytest.raises(CortiLoginFailed):
        tokens.bearer()
    assert len(http.logins) == 1


def test_a_login_that_cannot_be_reached_or_does_not_answer_is_an_outage(http):
    closed = endpoint_of("eu", "base", "http://127.0.0.1:1", "http://127.0.0.1:1")
    with pytest.raises(CortiUnavailable):
        TokenSource(closed, "c", "s").bearer()

    released = threading.Event()
    http.before_token = released.wait
    slow = TokenSource(endpoint_of("eu", "base", http.url, http.url), "c", "s", timeout=0.1)
    with pytest.raises(CortiTimeout):
        slow.bearer()
    released.set()


def test_a_short_outage_of_the_login_is_bridged_by_the_token_there_is(http, tokens, fake_clock, reply):
    tokens.bearer()
    http.tokens = [reply(503)]
    fake_clock.passed = 239
    assert [tokens.bearer(), tokens.fresh()] == ["token-1", "token-1"]
    with pytest.raises(CortiUnavailable):
        tokens.renew("token-1")  # Corti refused this one: it is of no use

    fake_clock.passed = 240
    with pytest.raises(CortiUnavailable):
        tokens.bearer()
