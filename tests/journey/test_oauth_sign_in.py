"""A person signs in and gives an app access: the whole way, page by page."""

import pytest
from browser import CALLBACK, PASSWORD, Browser, Later, add_app, add_user, begin
from conftest import example

from fhir_bridge import clock
from fhir_bridge.app import create_app

pytestmark = pytest.mark.usefixtures("holm", "anna")


def test_an_app_gets_tokens_for_the_patient_that_the_person_chose(browser, heart, holm, anna, ehr):
    page = begin(browser, heart)
    page = browser.sign_in(page, holm)
    page = browser.submit(page, "/oauth/patient", index=1, patient=anna)
    browser.submit(page, "/oauth/consent", answer="allow")
    assert browser.left.startswith(f"{CALLBACK}?")
    assert browser.told["state"] == "state of a test"

    answer = heart.exchange(browser.told["code"])

    assert answer.status_code == 200, answer.json
    assert answer.json.keys() == {
        "access_token",
        "token_type",
        "expires_in",
        "scope",
        "patient",
        "need_patient_banner",
        "id_token",
        "refresh_token",
    }
    bearer = f"Bearer {answer.json['access_token']}"
    assert ehr.get(f"Patient/{anna}", Authorization=bearer).status == 200


# --- who signs in ------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "password"), [("holm", "wrong"), ("nobody", PASSWORD), ("", PASSWORD), ("holm", "")])
def test_name_and_password_have_to_belong_together(browser, heart, name, password):
    page = browser.sign_in(begin(browser, heart), name, password)

    assert page.status == 403
    assert "Name and password do not belong together." in page.text
    assert "patient" not in page.text


def test_a_name_is_locked_after_five_attempts_that_failed(browser, heart, holm, app):
    page = begin(browser, heart)
    assert [browser.sign_in(page, holm, "wrong").status for _ in range(5)] == [403] * 5

    locked = browser.sign_in(page, holm)
    elsewhere = Browser(app.test_client())
    assert (locked.status, locked.headers["Retry-After"]) == (429, "900")
    assert elsewhere.sign_in(begin(elsewhere, heart), holm).status == 429


def test_attempts_in_a_locked_name_do_not_keep_it_locked(browser, heart, holm):
    page = begin(browser, heart)
    for _ in range(7):
        browser.sign_in(page, holm, "wrong")

    with clock.use(Later(15 * 60 + 1)):
        assert "Choose a patient" in browser.sign_in(begin(browser, heart), holm).text


def test_one_that_succeeded_wipes_out_those_before_it(browser, heart, holm):
    for _ in range(2):
        page = begin(browser, heart, prompt="login")
        for _ in range(4):
            browser.sign_in(page, holm, "wrong")
        assert "Choose a patient" in browser.sign_in(page, holm).text


def test_somebody_of_another_tenant_does_not_exist_here(browser, heart, bridge, other_ehr):
    assert other_ehr.token  # of the tenant elsewhere
    add_user(bridge, "stranger", tenant="elsewhere")

    page = browser.sign_in(begin(browser, heart), "stranger")

    assert page.status == 403
    assert "do not belong together" in page.text


def test_who_signed_in_is_not_asked_again_in_this_browser(browser, heart, holm, app):
    browser.sign_in(begin(browser, heart), holm)

    assert "Choose a patient" in begin(browser, heart).text
    assert "Sign in" in begin(Browser(app.test_client()), heart).text


@pytest.mark.parametrize("changes", [{"prompt": "login"}, {"max_age": "0"}, {"prompt": "select_account"}])
def test_an_app_may_ask_that_the_person_signs_in_anew(browser, heart, holm, changes):
    browser.sign_in(begin(browser, heart), holm)

    page = begin(browser, heart, **changes)

    assert page.form("/oauth/sign-in")
    assert "Choose a patient" in browser.sign_in(page, holm).text


def test_a_person_is_signed_out_after_half_an_hour_of_silence(browser, heart, holm):
    browser.sign_in(begin(browser, heart), holm)
    with clock.use(Later(29 * 60)):
        assert "Choose a patient" in begin(browser, heart).text
    with clock.use(Later(61 * 60)):
        assert begin(browser, heart).form("/oauth/sign-in")


def test_somebody_else_may_sign_in_instead(browser, heart, holm, anna, bridge):
    add_user(bridge, "lind", "Practitioner/lind")
    page = browser.submit(browser.sign_in(begin(browser, heart), holm), "/oauth/patient", index=1, patient=anna)
    assert "signed in as <strong>holm" in page.text

    page = browser.submit(page, "/oauth/sign-out")
    page = browser.sign_in(page, "lind")

    assert "signed in as <strong>lind" in page.text


# --- the pages ---------------------------------------------------------------------------


def test_every_page_is_without_scripts_and_in_no_frame(browser, heart, holm, anna):
    first = begin(browser, heart)
    second = browser.sign_in(first, holm)
    third = browser.submit(second, "/oauth/patient", index=1, patient=anna)

    for page in (first, second, third):
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self' https://app.example;" in policy
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert "<script" not in page.text
        assert "style=" not in page.text


def test_every_field_has_a_label_and_every_page_a_heading_and_a_language(browser, heart, holm, anna):
    first = begin(browser, heart)
    second = browser.sign_in(first, holm)
    third = browser.submit(second, "/oauth/patient", index=1, patient=anna)

    for page in (first, second, third):
        assert '<html lang="en">' in page.text
        assert page.text.count("<h1>") == 1
        fields = [one for form in page.forms for one in form["fields"] if one.get("type") != "hidden"]
        assert fields or page is third
        assert all(f'<label for="{one["id"]}">' in page.text for one in fields)
    assert 'role="alert"' in browser.sign_in(begin(browser, heart, prompt="login"), holm, "wrong").text


def test_what_others_wrote_is_text_on_a_page(browser, bridge, app, holm, ehr):
    evil = "<script>alert(1)</script>"
    id_ = ehr.create(example("patient", name=[{"text": evil}]))
    heart = add_app(bridge, app.test_client(), name=evil)

    page = browser.sign_in(begin(browser, heart), holm)
    last = browser.submit(page, "/oauth/patient", index=1, patient=id_)

    for each in (page, last):
        assert evil not in each.text
        assert "&lt;script&gt;" in each.text


def test_the_cookie_is_for_the_door_alone_and_unseen_by_scripts(web_settings, heart):
    def cookie_of(origin):
        made = create_app(web_settings.model_copy(update={"public_url": origin}))
        asks = heart.asks(aud=f"{origin}/fhir")
        first = made.test_client().get("/oauth/authorize", query_string=asks)
        assert first.headers["Location"].startswith(f"{origin}/oauth/sign-in?ask=")
        shown = made.test_client().get("/oauth/sign-in?" + first.headers["Location"].partition("?")[2])
        assert shown.status_code == 200
        made.extensions["fhir-bridge"].store.close()
        return {part.strip() for part in shown.headers["Set-Cookie"].split(";")[1:]}

    assert cookie_of("http://127.0.0.1:8080") == {"HttpOnly", "Path=/oauth", "SameSite=Lax"}
    assert cookie_of("https://bridge.example/base") == {"Secure", "HttpOnly", "Path=/base/oauth", "SameSite=Lax"}


def test_the_cookie_changes_as_somebody_signs_in(browser, heart, holm):
    page = begin(browser, heart)
    before = browser.http.get_cookie("fhir_bridge_sign_in", "127.0.0.1", "/oauth").value
    browser.sign_in(page, holm)

    assert browser.http.get_cookie("fhir_bridge_sign_in", "127.0.0.1", "/oauth").value != before


def test_a_form_of_another_browser_is_not_heard(browser, heart, holm, anna, app):
    page = begin(browser, heart)
    other = Browser(app.test_client())
    assert other.sign_in(page, holm).status == 400
    begin(other, heart)  # has a cookie now
    assert other.sign_in(page, holm).status == 400
    assert other.go(page.path).status == 400

    last = browser.submit(browser.sign_in(page, holm), "/oauth/patient", index=1, patient=anna)
    other.sign_in(begin(other, heart), holm)
    assert other.submit(last, "/oauth/consent", answer="allow").status == 400
    assert other.left is None
    assert browser.submit(last, "/oauth/consent", answer="allow").status == 303


def test_tabs_of_one_browser_go_on_when_one_of_them_signs_in(browser, heart, holm):
    first, second = begin(browser, heart), begin(browser, heart)
    browser.sign_in(first, holm)

    assert "Choose a patient" in browser.go(second.path).text


def test_an_answer_is_given_once_and_within_ten_minutes(browser, heart, holm, anna):
    page = browser.sign_in(begin(browser, heart), holm)
    late = begin(browser, heart)
    page = browser.submit(page, "/oauth/patient", index=1, patient=anna)
    assert browser.submit(page, "/oauth/consent", answer="allow").status == 303

    again = browser.submit(page, "/oauth/consent", answer="allow")
    assert (again.status, "Allow" in again.text) == (400, False)
    with clock.use(Later(601)):
        assert browser.go(late.path).status == 400


def test_nothing_is_given_before_everything_is_chosen(browser, heart, holm):
    page = browser.sign_in(begin(browser, heart), holm)

    asked = page.form("/oauth/consent")["fields"][0]["value"]
    answer = browser.go("/oauth/consent", data={"ask": asked, "answer": "allow", "scope": ["patient/*.rs"]})

    assert (answer.status, browser.left) == (400, None)


@pytest.mark.parametrize("path", ["patient", "encounter", "consent"])
def test_nothing_is_shown_before_somebody_signed_in(browser, heart, path):
    id_ = begin(browser, heart).form("/oauth/sign-in")["fields"][0]["value"]

    assert browser.go(f"/oauth/{path}?ask={id_}").status == 400
    assert browser.go(f"/oauth/{path}", data={"ask": id_, "answer": "allow"}).status == 400


def test_the_pages_have_their_style(browser):
    answer = browser.http.get("/oauth/sign-in.css")
    assert (answer.status_code, answer.mimetype) == (200, "text/css")
    answer.close()
