"""What a person is asked, in which order and words, and what their answer gives an app."""

from dataclasses import replace

import pytest

from fhir_bridge.errors import SentBack
from fhir_bridge.smart.approval import Approval, Ask, Context, Person
from fhir_bridge.smart.consent import agreed, choices, next_step, offered, settled
from fhir_bridge.smart.grant import Grant

ASK = Ask("app", "default", "https://app.example/cb", "openid fhirUser launch/patient user/*.rs patient/*.rs", "c")
HOLM = Person("holm", "default", "Practitioner/holm")
ANNA = Person("a.berg", "default", "Patient/anna")
MOTHER = Person("mother", "default", "RelatedPerson/mother")
NAMELESS = Person("clerk", "default")


def wants(scope, **context):
    return replace(ASK, scope=scope, context=Context(**context))


def test_everybody_gives_what_is_theirs_to_give():
    assert offered(ASK, HOLM) == tuple(ASK.scope.split())
    assert offered(ASK, ANNA) == ("openid", "fhirUser", "launch/patient", "patient/*.rs")
    assert offered(ASK, MOTHER) == ("openid", "fhirUser", "launch/patient")
    assert offered(ASK, NAMELESS) == ("openid", "launch/patient", "user/*.rs", "patient/*.rs")


@pytest.mark.parametrize(
    ("ask", "step"),
    [
        (wants("openid"), "consent"),
        (wants("user/*.rs"), "consent"),
        (wants("patient/*.rs"), "patient"),
        (wants("launch/patient"), "patient"),
        (wants("launch patient/*.rs", patient="anna"), "consent"),
        (wants("launch/encounter"), "encounter"),
        (wants("launch/encounter patient/*.rs"), "patient"),
        (wants("launch/encounter patient/*.rs", patient="anna"), "encounter"),
        (wants("launch/encounter", encounter="visit"), "consent"),
    ],
)
def test_what_is_granted_of_a_patient_needs_one(ask, step):
    assert next_step(ask, HOLM) == step


def test_a_patient_is_in_their_own_record_and_in_no_other():
    assert settled(ASK, HOLM) == ASK
    assert settled(ASK, ANNA).context.patient == "anna"
    assert settled(wants("patient/*.rs", patient="anna"), ANNA).context.patient == "anna"
    with pytest.raises(SentBack) as refused:
        settled(wants("patient/*.rs", patient="other"), ANNA)
    assert refused.value.error == "access_denied"


def test_what_an_ehr_opened_is_for_whom_it_names():
    for user in ("Practitioner/holm", "holm"):
        assert settled(wants("openid", user=user), HOLM)
    with pytest.raises(SentBack):
        settled(wants("openid", user="Practitioner/lind"), HOLM)


def test_scopes_are_told_in_words():
    ask = wants(
        "openid profile offline_access online_access launch patient/Observation.rs?category=laboratory "
        "patient/*.cruds user/Task.c",
        patient="anna",
    )
    assert choices(ask, HOLM) == (
        (
            "patient/Observation.rs?category=laboratory",
            "Read and search Observation of this patient, only with category laboratory",
        ),
        ("patient/*.cruds", "Create, read, change, delete and search everything of this patient"),
        ("user/Task.c", "Create Task that you may see"),
        ("openid profile", "Know who you are"),
        ("offline_access", "Go on after you have left, until you or the hospital withdraw it"),
        ("online_access", "Go on for as long as you are signed in here"),
    )


def test_an_answer_gives_what_was_left_and_the_context():
    assert agreed(ASK, HOLM, ["user/*.rs", "openid fhirUser"]) == "launch/patient openid fhirUser user/*.rs"
    assert agreed(ASK, HOLM, ["patient/*.rs", "system/*.cruds"]) == "launch/patient patient/*.rs"


@pytest.mark.parametrize("chosen", [[], ["launch/patient"], ["system/*.rs"], ["fhirUser"], ["offline_access"]])
def test_an_answer_that_leaves_nothing_is_a_no(chosen):
    with pytest.raises(SentBack) as refused:
        agreed(replace(ASK, scope=f"{ASK.scope} offline_access"), HOLM, chosen)
    assert refused.value.error == "access_denied"


def test_what_was_approved_is_kept_and_read():
    context = Context(patient="anna", need_patient_banner=False, fhir_context=({"reference": "ImagingStudy/7"},))
    approval = Approval("1", "app", "https://app.example/cb", "c", "openid", HOLM, context, 7, nonce="n")
    assert Approval.read(approval.text()) == approval
    assert Context.read(context.text()) == context
    assert Person.read(ANNA.text()) == ANNA
    assert (ANNA.user, ANNA.patient, NAMELESS.user, NAMELESS.patient) == ("Patient/anna", "anna", "clerk", None)
    assert (HOLM.is_staff, NAMELESS.is_staff, ANNA.is_staff, MOTHER.is_staff) == (True, True, False, False)


def test_a_context_is_told_as_far_as_there_is_one():
    assert Context().members() == {}
    assert Context(encounter="v").members() == {"encounter": "v"}
    assert Context(patient="p", need_patient_banner=False).members() == {"patient": "p", "need_patient_banner": False}


def test_who_signed_in_may_be_read_where_that_was_asked():
    grant = Grant("default", "app", "openid fhirUser patient/Media.rs", user="Practitioner/holm")
    assert [str(scope) for scope in grant.scopes_for("Practitioner", "r")] == ["user/Practitioner.r?_id=holm"]
    assert not grant.scopes_for("Practitioner", "s")
    assert not grant.scopes_for("Patient", "r")
    assert not replace(grant, scope="openid").scopes_for("Practitioner", "r")
    assert not replace(grant, user="holm").scopes_for("Practitioner", "r")
    assert not replace(grant, user=None).scopes_for("Practitioner", "r")
