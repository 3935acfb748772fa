"""Where an app sends a person: by GET or POST, with errors where they belong."""

import pytest
from browser import add_app, begin
from werkzeug.datastructures import MultiDict

from fhir_bridge.app import create_app
from fhir_bridge.store import oauth

pytestmark = pytest.mark.usefixtures("holm")


def test_what_was_asked_may_be_posted(browser, heart):
    page = browser.go("/oauth/authorize", data=heart.asks())
    assert page.form("/oauth/sign-in")


def test_a_form_of_another_site_leaves_the_person_signed_in(browser, heart, anna, app):
    """Browsers send no cookie with it, but with the way that it leads on."""
    browser.sign_in(begin(browser, heart), "holm")
    led = app.test_client().post("/oauth/authorize", data=heart.asks()).headers["Location"]

    assert anna in browser.go(led).text


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    "changes", [{"client_id": "nobody"}, {"client_id": None}, {"redirect_uri": "https://evil.example/"}]
)
def test_what_is_wrong_about_the_app_is_shown_and_sent_nowhere(heart, app, method, changes):
    sent = heart.asks(**changes)
    where = {"query_string": sent} if method == "get" else {"data": sent}
    answer = getattr(app.test_client(), method)("/oauth/authorize", **where)

    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert "Location" not in answer.headers
    assert "evil" not in answer.text
    assert 'role="alert"' in answer.text
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"aud": "https://other.example/fhir"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "system/*.rs"}, "invalid_scope"),
        ({"scope": ["openid", "openid"]}, "invalid_request"),
    ],
)
def test_all_else_the_app_is_told(browser, heart, method, changes, error):
    sent = MultiDict(
        [
            (name, each)
            for name, value in heart.asks(**changes).items()
            for each in ([value] if isinstance(value, str) else value)
        ]
    )
    where = {"query_string": sent} if method == "get" else {"data": sent}
    answer = getattr(browser.http, method)("/oauth/authorize", **where)

    assert answer.status_code == 303
    browser.left = answer.headers["Location"]
    assert browser.left.startswith(f"{heart.redirect_uri}?")
    assert (browser.told["error"], browser.told["state"]) == (error, "state of a test")
    assert browser.told["error_description"]


def test_an_app_that_wants_nothing_asked_learns_that_something_must_be(browser, heart, anna):
    begin(browser, heart, prompt="none")
    assert browser.told["error"] == "login_required"

    assert anna in browser.sign_in(begin(browser, heart), "holm").text
    begin(browser, heart, prompt="none")
    assert browser.told["error"] == "consent_required"


def test_a_disabled_app_sends_nobody(browser, heart, bridge):
    page = begin(browser, heart)
    bridge.store.write(lambda conn: oauth.disable_client(conn, heart.id))
    assert browser.sign_in(page, "holm").status == 400
    assert begin(browser, heart).status == 400


def test_a_form_that_is_too_large_is_not_read(browser, heart):
    answer = browser.http.post("/oauth/authorize", data=heart.asks(state="x" * 70_000))
    assert answer.status_code == 413


def test_an_app_on_a_phone_is_reached_by_its_own_scheme(browser, app, bridge):
    phone = add_app(bridge, app.test_client(), "openid", redirect_uris=("com.example.heart:/callback",))
    page = browser.sign_in(begin(browser, phone), "holm")
    assert "form-action 'self' com.example.heart:;" in page.headers["Content-Security-Policy"]
    browser.submit(page, "/oauth/consent", answer="allow")
    assert browser.left.startswith("com.example.heart:/callback?code=")


def test_below_a_path_all_pages_lead_to_each_other(web_settings, heart, app):
    assert app  # has the database
    origin = "https://bridge.example/base"
    made = create_app(web_settings.model_copy(update={"public_url": origin}))
    first = made.test_client().get("/oauth/authorize", query_string=heart.asks(aud=f"{origin}/fhir"))
    shown = made.test_client().get("/oauth/sign-in?" + first.headers["Location"].partition("?")[2]).text

    assert 'action="/base/oauth/sign-in"' in shown
    assert 'href="/base/oauth/sign-in.css"' in shown
    made.extensions["fhir-bridge"].store.close()


@pytest.mark.parametrize("path", ["/base/fhir/metadata", "/fhir/metadata", "/base/oauth/jwks", "/base/health/live"])
def test_a_proxy_may_take_the_path_away_or_leave_it(web_settings, app, path):
    assert app  # has the database
    made = create_app(web_settings.model_copy(update={"public_url": "https://bridge.example/base/"}))
    assert made.test_client().get(path).status_code == 200
    for nothing in ("/base", "/basement/fhir/metadata", "/other/fhir/metadata"):
        assert made.test_client().get(nothing).status_code == 404
    made.extensions["fhir-bridge"].store.close()


@pytest.mark.parametrize(
    ("peer", "said", "address"),
    [
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "198.51.100.9, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "198.51.100.9, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.9", "203.0.113.7", "10.0.0.9"),
    ],
)
def test_a_trusted_proxy_is_believed_who_asks(web_settings, ehr, peer, said, address):
    made = create_app(web_settings.model_copy(update={"trusted_proxies": ("10.0.0.1", "10.0.0.2")}))
    sent = {"Authorization": f"Bearer {ehr.token}", "X-Forwarded-For": said}

    made.test_client().get("/fhir/Encounter", headers=sent, environ_overrides={"REMOTE_ADDR": peer})

    (event,) = ehr.get("AuditEvent?_count=1").found
    assert event["agent"][0]["network"]["address"] == address
    made.extensions["fhir-bridge"].store.close()


def test_what_happens_at_the_door_is_in_the_audit(browser, heart, anna, ehr):
    page = begin(browser, heart)
    browser.sign_in(page, "holm", "wrong")
    page = browser.submit(browser.sign_in(page, "holm"), "/oauth/patient", index=1, patient=anna)
    browser.submit(page, "/oauth/consent", answer="allow")
    page = browser.submit(begin(browser, heart), "/oauth/patient", index=1, patient=anna)
    browser.submit(page, "/oauth/consent", answer="deny")

    told = ehr.get("AuditEvent?_count=200").found
    operations = [
        (event["subtype"][1]["code"], event["outcome"], event["agent"][-1]["who"].get("reference"))
        for event in reversed(told)
        if len(event["subtype"]) > 1
    ]

    assert operations == [
        ("sign-in", "4", "Device/fhir-bridge"),  # nobody known: the last who is named is the bridge itself
        ("sign-in", "0", "Practitioner/holm"),
        ("authorize", "0", "Practitioner/holm"),
        ("authorize", "4", "Practitioner/holm"),
    ]


def test_nothing_that_a_person_types_is_logged(browser, heart, anna, caplog):
    page = browser.sign_in(begin(browser, heart), "holm", "a-wrong-password")
    page = browser.sign_in(page, "holm")
    browser.submit(page, "/oauth/patient", search="yes", name="Berg")
    browser.submit(browser.submit(page, "/oauth/patient", index=1, patient=anna), "/oauth/consent", answer="allow")
    answer = heart.exchange(browser.told["code"]).json

    for secret in ("a-wrong-password", "correct horse", "Berg", browser.told["code"], answer["refresh_token"]):
        assert secret not in caplog.text
