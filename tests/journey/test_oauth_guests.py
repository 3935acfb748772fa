"""Who tries the bridge beside the sandbox signs in as demo, from Swagger UI; elsewhere neither exists."""

import pytest
from browser import ORIGIN, App, Browser, begin

from fhir_bridge.api.guests import REDIRECT, SWAGGER
from fhir_bridge.app import create_app
from fhir_bridge.cli.service import Service, Wishes


@pytest.fixture
def trial(web_settings):
    made = create_app(web_settings, guests=True)
    yield made
    made.extensions["fhir-bridge"].store.close()


def page_of(process) -> App:
    scope = "openid patient/*.rs user/*.cruds"
    return App(process.test_client(), SWAGGER, scope, f"{ORIGIN}{REDIRECT}")


def test_swagger_ui_gets_a_token_for_the_user_demo(trial):
    page, browser = page_of(trial), Browser(trial.test_client())
    shown = browser.sign_in(begin(browser, page, scope="openid user/*.cruds"), "demo", "demo")
    browser.submit(shown, "/oauth/consent", answer="allow")

    token = page.exchange(browser.told["code"]).json["access_token"]

    sent = {"Authorization": f"Bearer {token}"}
    assert trial.test_client().get("/fhir/Encounter", headers=sent).status_code == 200


def test_the_page_is_told_how_to_sign_in(trial, app):
    here = {"aud": f"{ORIGIN}/fhir", "redirect": f"{ORIGIN}{REDIRECT}"}
    assert trial.test_client().get("/docs/sign-in.json").json == {**here, "clientId": SWAGGER}
    assert app.test_client().get("/docs/sign-in.json").json == {**here, "clientId": ""}
    with trial.test_client().get(REDIRECT) as answer:
        assert (answer.status_code, answer.mimetype) == (200, "text/html")
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


def test_elsewhere_there_are_no_guests(app, heart):
    browser = Browser(app.test_client())
    assert begin(browser, page_of(app)).status == 400
    assert browser.sign_in(begin(browser, heart), "demo", "demo").status == 403


@pytest.mark.parametrize(
    ("host", "sandbox", "public_url", "are_let_in"),
    [
        ("127.0.0.1", True, None, True),
        ("127.0.0.1", False, None, False),
        ("0.0.0.0", True, None, False),  # noqa: S104 - what must not be trusted
        ("127.0.0.1", True, "https://bridge.example", False),
    ],
)
def test_guests_are_let_in_beside_the_sandbox_on_this_machine_alone(
    sqlite_settings, host, sandbox, public_url, are_let_in
):
    wanted = sqlite_settings.model_copy(update={"public_url": public_url})
    service = Service(wanted, Wishes(host, 0, sandbox=sandbox), given={}, stderr=None)

    assert service._guests() == (("--guests",) if are_let_in else ())
    service.stop()
