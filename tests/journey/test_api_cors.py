"""Pages in a browser: any may discover, those of registered apps may go on, no other is told that it may."""

import pytest
from pydantic import ValidationError

from fhir_bridge.api.cors import PUBLIC
from fhir_bridge.app import create_app
from fhir_bridge.origins import origin_of
from fhir_bridge.store import oauth
from fhir_bridge.trusted import TrustedIssuer

APP = "https://app.example"


@pytest.fixture
def registered(new_ehr):
    return new_ehr(redirect_uris=(f"{APP}/callback", "http://127.0.0.1:9000/", "com.example.app:/callback"))


def preflight(ehr, path: str, origin: str, method: str = "POST"):
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization, content-type, prefer",
    }
    return ehr.http.options(path, headers=headers)


def cors_of(answer) -> set[str]:
    return {name for name, _ in answer.headers if name.startswith("Access-Control")}


@pytest.mark.parametrize("path", sorted(PUBLIC))
def test_any_page_may_discover(ehr, path):
    asked = preflight(ehr, path, "https://anyone.example", "GET")
    answer = ehr.http.get(path, headers={"Origin": "https://anyone.example"})

    assert (asked.status_code, answer.status_code) == (200, 200)
    assert asked.headers["Access-Control-Allow-Origin"] == answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "GET" in asked.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in cors_of(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/oauth/token",
        "/oauth/introspect",
        "/oauth/revoke",
        "/fhir/Encounter",
        "/fhir/Encounter/1",
        "/fhir",
        "/fhir/Binary/1",
    ],
)
def test_a_page_of_a_registered_app_may_ask_without_a_token_first(registered, path):
    asked = preflight(registered, path, APP)

    assert asked.status_code == 200
    assert asked.headers["Access-Control-Allow-Origin"] == APP
    assert "Origin" in asked.headers["Vary"]
    allowed = asked.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "Content-Type", "Prefer", "If-Match", "If-None-Match", "If-None-Exist"} <= set(allowed)
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= set(asked.headers["Access-Control-Allow-Methods"].split(", "))
    assert "Access-Control-Allow-Credentials" not in cors_of(asked)


def test_a_page_of_a_registered_app_may_read_answers_and_refusals(registered):
    sent = {"Origin": "http://127.0.0.1:9000", "Authorization": f"Bearer {registered.token}"}
    for answer in (
        registered.http.get("/fhir/Encounter", headers=sent),
        registered.http.get("/fhir/Encounter", headers={"Origin": sent["Origin"]}),
        registered.http.get("/fhir/Encounter/none", headers=sent),
        registered.http.post("/oauth/token", headers={"Origin": sent["Origin"]}),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == sent["Origin"]
        exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        assert {"ETag", "Location", "Content-Location", "Last-Modified", "Retry-After", "X-Progress"} <= exposed


@pytest.mark.parametrize(
    "origin",
    [
        "https://other.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "https://APP.example/",
        "https://app.example/callback",
        "com.example.app:",
        "null",
        "*",
        "",
    ],
)
def test_other_pages_are_not_told_that_they_may(registered, origin):
    asked = preflight(registered, "/fhir/Encounter", origin)
    answer = registered.http.post("/oauth/token", headers={"Origin": origin})

    assert asked.status_code == 200  # the browser asks on nobody's behalf: there is nothing to refuse
    assert cors_of(asked) == cors_of(answer) == set()
    assert "Origin" in answer.headers["Vary"]


def test_without_a_registered_app_no_page_may(ehr):
    assert cors_of(preflight(ehr, "/oauth/token", APP)) == set()


def test_a_disabled_app_has_no_pages(registered, bridge):
    bridge.store.write(lambda conn: oauth.disable_client(conn, registered.name))
    assert cors_of(preflight(registered, "/oauth/token", APP)) == set()


@pytest.mark.parametrize(
    "path", ["/oauth/authorize", "/oauth/sign-in", "/health/live", "/metrics", "/docs", "/openapi.json"]
)
def test_what_is_for_operators_and_readers_is_not_for_pages(registered, path):
    with registered.http.get(path, headers={"Origin": APP}) as answer:
        assert cors_of(answer) == set()


PAGES = ("https://portal.example", "http://127.0.0.1:9001")


@pytest.fixture
def outside(web_settings):
    """A bridge that trusts an issuer with two pages, and one without."""
    trusted = (
        TrustedIssuer(issuer="https://issuer.example", origins=PAGES),
        TrustedIssuer(issuer="https://another.example", tenant="north"),
    )
    made = create_app(web_settings.model_copy(update={"trusted_issuers": trusted}))
    yield made.test_client()
    made.extensions["fhir-bridge"].store.close()


@pytest.mark.parametrize("origin", PAGES)
@pytest.mark.parametrize("path", ["/fhir", "/fhir/Encounter", "/fhir/Binary/1"])
def test_a_page_whose_tokens_come_from_a_trusted_issuer_may_call_fhir(outside, origin, path):
    wanted = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    asked = outside.options(path, headers=wanted)
    answer = outside.get(path, headers={"Origin": origin, "Authorization": "Bearer of-the-issuer"})

    assert (asked.status_code, answer.status_code) == (200, 401 if path != "/fhir" else answer.status_code)
    for each in (asked, answer):
        assert each.headers["Access-Control-Allow-Origin"] == origin
        assert "Origin" in each.headers["Vary"]
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    assert "WWW-Authenticate" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/authorize"])
def test_a_page_whose_tokens_come_from_elsewhere_is_not_told_to_ask_for_them_here(outside, path):
    with outside.post(path, headers={"Origin": PAGES[0]}) as answer:
        assert cors_of(answer) == set()


@pytest.mark.parametrize(
    "origin", ["https://portal.example.evil.example", "http://portal.example", "null", "https://x"]
)
def test_pages_that_the_issuer_does_not_have_are_not_told_that_they_may(outside, origin):
    asked = outside.options("/fhir/Encounter", headers={"Origin": origin, "Access-Control-Request-Method": "GET"})
    answer = outside.get("/fhir/Encounter", headers={"Origin": origin})
    assert cors_of(asked) == cors_of(answer) == set()


@pytest.mark.parametrize(
    "origin", ["*", "null", "https://App.example", "https://app.example/", "https://app.example:443", ""]
)
def test_what_no_browser_sends_as_an_origin_is_no_setting(origin):
    with pytest.raises(ValidationError, match="as browsers send it"):
        TrustedIssuer(issuer="https://issuer.example", origins=["https://app.example", origin])


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("https://app.example/callback?x=1", "https://app.example"),
        ("HTTPS://App.Example:443/", "https://app.example"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://localhost:80/cb", "http://localhost"),
        ("https://[2001:DB8::1]:8443/", "https://[2001:db8::1]:8443"),
        ("com.example.app:/callback", None),
        ("https:///nowhere", None),
        ("https://app.example:port/", None),
        ("https://[broken/", None),
    ],
)
def test_the_origin_of_a_redirect_uri_is_written_as_browsers_do(uri, origin):
    assert origin_of(uri) == origin
