"""An EHR opens an app on what it has open, and an app opens by itself: how the context comes about."""

import pytest
from browser import Later, add_app, add_user, begin, let_in

from fhir_bridge import clock

pytestmark = pytest.mark.usefixtures("holm")

SCOPE = "launch openid fhirUser patient/*.rs"


@pytest.fixture
def vendor(new_ehr):
    """An EHR that may open apps."""
    return new_ehr("launch system/*.cruds")


@pytest.fixture
def viewer(app, bridge):
    """An app that is opened by an EHR."""
    return add_app(bridge, app.test_client(), SCOPE)


def launch(vendor, **context):
    return vendor.http.post("/oauth/launch", json=context, headers={"Authorization": f"Bearer {vendor.token}"})


def test_an_app_opens_on_what_the_ehr_has_open(browser, viewer, vendor):
    others = [{"reference": "ImagingStudy/7"}, {"reference": "Patient/mother", "role": "https://example.org/mother"}]
    made = launch(
        vendor,
        patient="anna",
        encounter="visit",
        user="Practitioner/holm",
        intent="reconcile",
        need_patient_banner=False,
        fhirContext=others,
    )
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    assert made.json.keys() == {"launch"}

    told = viewer.exchange(let_in(browser, viewer, launch=made.json["launch"])).json

    assert {name: told[name] for name in ("patient", "encounter", "intent", "need_patient_banner", "fhirContext")} == {
        "patient": "anna",
        "encounter": "visit",
        "intent": "reconcile",
        "need_patient_banner": False,
        "fhirContext": others,
    }
    assert set(told["scope"].split()) == set(SCOPE.split())


def test_a_token_of_the_context_opens_that_patient_alone(browser, viewer, vendor, anna):
    id_ = launch(vendor, patient=f"Patient/{anna}").json["launch"]
    token = viewer.exchange(let_in(browser, viewer, launch=id_)).json["access_token"]

    answer = vendor.get("Patient", Authorization=f"Bearer {token}")

    assert answer.ids == [anna]


def test_what_was_launched_is_good_once(browser, viewer, vendor):
    id_ = launch(vendor, patient="anna").json["launch"]
    late = begin(browser, viewer, launch=id_)
    late = browser.sign_in(late, "holm")
    let_in(browser, viewer, launch=id_)

    browser.submit(late, "/oauth/consent", answer="allow")
    assert browser.told["error"] == "invalid_request"
    begin(browser, viewer, launch=id_)
    assert browser.told["error"] == "invalid_request"


def test_what_was_launched_is_good_for_five_minutes(browser, viewer, vendor):
    id_ = launch(vendor, patient="anna").json["launch"]
    with clock.use(Later(299)):
        assert "Sign in" in begin(browser, viewer, launch=id_).text
    with clock.use(Later(301)):
        begin(browser, viewer, launch=id_)
    assert browser.told["error"] == "invalid_request"


def test_what_an_ehr_of_another_tenant_launched_is_not_known(browser, viewer, new_ehr):
    stranger = new_ehr("launch", tenant="elsewhere")
    begin(browser, viewer, launch=launch(stranger, patient="anna").json["launch"])
    assert browser.told["error"] == "invalid_request"


def test_an_app_without_the_scope_is_not_told(browser, app, bridge, vendor):
    other = add_app(bridge, app.test_client(), "patient/*.rs")
    begin(browser, other, launch=launch(vendor, patient="anna").json["launch"])
    assert browser.told["error"] == "invalid_scope"


def test_an_app_that_opens_by_itself_is_not_given_the_scope(browser, viewer, anna):
    told = viewer.exchange(let_in(browser, viewer, anna)).json
    assert "launch" not in told["scope"].split()
    assert told["patient"] == anna


def test_what_was_opened_for_one_person_is_not_for_another(browser, viewer, vendor, bridge):
    add_user(bridge, "lind", "Practitioner/lind")
    id_ = launch(vendor, patient="anna", user="Practitioner/lind").json["launch"]

    browser.sign_in(begin(browser, viewer, launch=id_), "holm")
    assert browser.told["error"] == "access_denied"

    page = begin(browser, viewer, launch=id_, prompt="login")
    assert "Allow" in browser.sign_in(page, "lind").text


@pytest.mark.parametrize(
    "context",
    [
        {"patient": "a/b"},
        {"patient": 7},
        {"patient": "Encounter/1"},
        {"encounter": ""},
        {"user": "a b"},
        {"user": []},
        {"intent": ""},
        {"intent": "x" * 257},
        {"need_patient_banner": "yes"},
        {"fhirContext": {}},
        {"fhirContext": ["ImagingStudy/7"]},
        {"fhirContext": [{"reference": 1}]},
        {"fhirContext": [{"reference": "Patient/mother"}]},
        {"fhirContext": [{"reference": "ImagingStudy/7", "more": 1}]},
        {"fhirContext": [{"reference": "ImagingStudy/7"}] * 21},
        {"patients": "anna"},
    ],
)
def test_a_context_that_means_nothing_is_refused(vendor, context):
    answer = launch(vendor, **context)
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"[" * 10_000])
def test_what_is_no_json_object_is_refused(vendor, body):
    headers = {"Authorization": f"Bearer {vendor.token}", "Content-Type": "application/json"}
    answer = vendor.http.post("/oauth/launch", data=body, headers=headers)
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_only_an_ehr_with_the_scope_launches(ehr, browser, viewer, vendor):
    assert (launch(ehr).status_code, launch(ehr).json["error"]) == (403, "insufficient_scope")
    assert ehr.http.post("/oauth/launch", json={}).status_code == 401
    id_ = launch(vendor, patient="anna").json["launch"]
    token = viewer.exchange(let_in(browser, viewer, launch=id_)).json["access_token"]
    answer = ehr.http.post("/oauth/launch", json={}, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403


# --- apps that open by themselves --------------------------------------------------------


def test_an_encounter_is_chosen_with_its_patient(browser, app, bridge, ehr, anna):
    visit = ehr.encounter(subject={"reference": f"Patient/{anna}"})
    scribe = add_app(bridge, app.test_client(), "launch/encounter user/Encounter.rs")
    page = browser.sign_in(begin(browser, scribe), "holm")
    assert browser.submit(page, "/oauth/encounter", encounter="nothing").text.count("Choose one of the encounters.")
    assert browser.submit(page, "/oauth/encounter").text.count("Choose one of the encounters.")

    page = browser.submit(page, "/oauth/encounter", encounter=visit)
    browser.submit(page, "/oauth/consent", answer="allow")

    told = scribe.exchange(browser.told["code"]).json
    assert (told["encounter"], told["patient"]) == (visit, anna)


def test_encounters_are_those_of_the_patient_that_was_chosen(browser, app, bridge, ehr, anna):
    mine = ehr.encounter(subject={"reference": f"Patient/{anna}"})
    other = ehr.encounter(subject={"reference": "Patient/other"})
    scribe = add_app(bridge, app.test_client(), "launch/patient launch/encounter patient/*.rs")
    page = browser.sign_in(begin(browser, scribe), "holm")

    page = browser.submit(page, "/oauth/patient", index=1, patient=anna)

    assert mine in page.text
    assert other not in page.text


def test_patients_are_found_by_name_and_nobody_else_can_be_chosen(browser, viewer, anna, other_ehr):
    other = other_ehr.create({"resourceType": "Patient", "name": [{"family": "Elsewhere"}]})
    page = browser.sign_in(begin(browser, viewer), "holm")
    assert anna in page.text
    assert other not in page.text

    assert anna in browser.submit(page, "/oauth/patient", search="yes", name="ber").text
    nothing = browser.submit(page, "/oauth/patient", search="yes", name="a,b\\$c|")
    assert "No patient was found." in nothing.text
    for id_ in (other, "nothing", "", "a b"):
        again = browser.submit(page, "/oauth/patient", index=1, patient=id_)
        assert "Choose one of the patients." in again.text


def test_who_is_a_patient_is_in_their_own_record(browser, viewer, vendor, bridge, anna, app):
    add_user(bridge, "anna", f"Patient/{anna}")
    wide = add_app(bridge, app.test_client(), "patient/*.rs user/*.rs")

    page = browser.sign_in(begin(browser, wide), "anna")
    assert page.scopes == ["patient/*.rs"]
    browser.submit(page, "/oauth/consent", answer="allow")
    told = wide.exchange(browser.told["code"]).json
    assert (told["scope"], told["patient"]) == ("patient/*.rs", anna)

    begin(browser, viewer, launch=launch(vendor, patient="other").json["launch"])
    assert browser.told["error"] == "access_denied"


def test_who_is_no_staff_and_no_patient_has_no_record_to_open(browser, bridge, app):
    add_user(bridge, "mother", "RelatedPerson/mother")
    asks = add_app(bridge, app.test_client(), "openid patient/*.rs user/*.rs")
    page = browser.sign_in(begin(browser, asks), "mother")
    assert page.scopes == ["openid"]


# --- what the person leaves --------------------------------------------------------------


def test_a_person_takes_away_what_an_app_should_not_do(browser, heart, anna):
    page = browser.sign_in(begin(browser, heart), "holm")
    page = browser.submit(page, "/oauth/patient", index=1, patient=anna)
    assert "Read and search everything of this patient" in page.text
    assert "Know who you are" in page.text
    assert page.scopes == ["patient/*.rs", "user/Practitioner.rs", "openid fhirUser", "offline_access"]

    browser.submit(page, "/oauth/consent", answer="allow", scope=["patient/*.rs", "system/*.cruds", "user/*.cruds"])

    told = heart.exchange(browser.told["code"]).json
    assert told["scope"] == "launch/patient patient/*.rs"
    assert told.keys().isdisjoint({"refresh_token", "id_token"})


@pytest.mark.parametrize("answer", [{"answer": "deny"}, {"answer": "allow", "scope": []}, {"answer": ""}])
def test_a_person_may_say_no(browser, heart, anna, answer):
    page = browser.sign_in(begin(browser, heart), "holm")
    page = browser.submit(page, "/oauth/patient", index=1, patient=anna)

    browser.submit(page, "/oauth/consent", **answer)

    assert (browser.told["error"], browser.told["state"]) == ("access_denied", "state of a test")
    assert "code" not in browser.told


def test_a_person_may_turn_back_at_every_page(browser, heart, anna):
    page = browser.sign_in(begin(browser, heart), "holm")
    assert anna in page.text
    browser.submit(page, "/oauth/consent", answer="deny")
    assert browser.told["error"] == "access_denied"
