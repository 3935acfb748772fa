from __future__ import annotations

import pytest

from fhir_bridge.sandbox import sample
from fhir_bridge.sandbox.engine import Utterance
from fhir_bridge.sandbox.extraction import extract
from fhir_bridge.sandbox.shapes import FACT_GROUPS

HPI = "history-of-present-illness"
DENIAL = "denials-of-symptoms"


def found(*lines):
    return [(one.group, one.text) for one in extract([Utterance(0, 0, line) for line in lines])]


STATEMENTS = [
    ("I am allergic to penicillin.", "allergies"),
    ("I'm taking lisinopril every morning.", "medications-prior-to-visit"),
    ("I do not take any medicine.", "medications-prior-to-visit"),
    ("I have high blood pressure and asthma.", "past-medical-history"),
    ("I was in the hospital last year.", "past-medical-history"),
    ("My father died of a heart attack.", "family-history"),
    ("I quit smoking ten years ago.", "social-history"),
    ("I work as a teacher.", "social-history"),
    ("Your blood pressure is 140 over 90.", "vital-signs"),
    ("Your temperature is normal.", "vital-signs"),
    ("My temperature was one hundred and two last night.", "vital-signs"),
    ("Your cholesterol is high.", "laboratory-results"),
    ("The chest x-ray shows fluid in the left lung.", "imaging-results"),
    ("Your lungs sound clear.", "normal-physical-findings"),
    ("There is no tenderness in your abdomen.", "normal-physical-findings"),
    ("Your throat is red.", "abnormal-physical-findings"),
    ("I think you have arthritis in your left knee.", "assessment"),
    ("It looks like you have pneumonia.", "assessment"),
    ("We will start you on amoxicillin for ten days.", "plan"),
    ("I'll see you in two weeks.", "plan"),
    ("Please call us if it gets worse.", "plan"),
    ("I'm afraid that it could be cancer.", "concerns-and-expectations"),
    ("I can't walk up the stairs without stopping.", "functional-status"),
    ("I am fifty two years old.", "demographics"),
    ("I don't have any chest pain or shortness of breath.", DENIAL),
    ("No numbness or tingling.", DENIAL),
    ("My knee is swollen.", HPI),
    ("The pain is worse at night.", HPI),
    ("It started two weeks ago.", HPI),
]


@pytest.mark.parametrize(("line", "group"), STATEMENTS, ids=[line for line, _ in STATEMENTS])
def test_a_clear_statement_is_a_fact_of_its_group_in_its_own_words(line, group):
    assert group in FACT_GROUPS
    assert found(line) == [(group, line)]


SILENCE = [
    ("Let's start with your blood pressure.",),
    ("Let's start with some questions.",),
    ("I'll take a look at your ear.",),
    ("Take a deep breath for me.",),
    ("So you have had a sharp pain for two weeks.",),
    ("You said the headache started yesterday.",),
    ("Pain like that is very common.",),
    ("How long have you had it?", "Three days."),
    ("What makes it worse?", "Walking."),
    ("Is it raining?", "Yes."),
    ("Do you have a fever?", "Well."),
    ("No fever?", "No."),
    ("Good morning.",),
    ("",),
    ("...",),
]


@pytest.mark.parametrize("lines", SILENCE, ids=" ".join)
def test_what_is_no_clear_statement_is_no_fact(lines):
    assert found(*lines) == []


def test_a_clinicians_echo_of_what_was_said_is_not_told_twice():
    assert found("I have had this cough since Monday.", "Okay, this cough since Monday.") == [
        (HPI, "I have had this cough since Monday.")
    ]


PAIRS = [
    ("Any fever?", "No.", DENIAL),
    ("Do you have any fever?", "No, I do not.", DENIAL),
    ("Is there any swelling?", "Yes, there is.", HPI),
    ("Do you smoke?", "No.", "social-history"),
    ("Are you allergic to anything?", "No, not that I know of.", "allergies"),
    ("Does anyone in your family have diabetes?", "Nope.", "family-history"),
    ("Do you have any other medical problems?", "No.", "past-medical-history"),
    ("Can you climb the stairs?", "No.", "functional-status"),
    ("do you have any swelling in your legs", "no i don't", DENIAL),
    ("Is there any blood in your stool.", "No, there is not.", DENIAL),
]


@pytest.mark.parametrize(("question", "answer", "group"), PAIRS, ids=[one[0] for one in PAIRS])
def test_a_yes_or_no_is_joined_with_its_question(question, answer, group):
    assert found(question, answer) == [(group, f"{question} {answer}")]


def test_each_answer_belongs_to_its_own_question():
    assert found("Any fever? No. Any cough? Yes, a dry one.") == [
        (DENIAL, "Any fever? No."),
        (HPI, "Any cough? Yes, a dry one."),
    ]


def test_an_answer_that_says_enough_stands_alone():
    assert found("Do you take any medications?", "Yes, I take lisinopril.") == [
        ("medications-prior-to-visit", "Yes, I take lisinopril.")
    ]


def test_a_negation_reaches_no_further_than_its_clause():
    assert found("I have a cough but no fever.") == [(HPI, "I have a cough"), (DENIAL, "no fever.")]
    assert found("Any fever?", "No, but I have a headache.") == [
        (DENIAL, "Any fever? No"),
        (HPI, "I have a headache."),
    ]


def test_the_first_answer_to_why_somebody_came_is_the_chief_complaint():
    assert found("Good morning, what brings you in today?", "Chest pain.") == [("chief-complaint", "Chest pain.")]
    assert found("What brings you in?", "I'm allergic to bees.") == [("allergies", "I'm allergic to bees.")]
    assert found("What brings you in?", "The bus.") == []


def test_names_of_speakers_are_not_part_of_what_was_said():
    assert found("patient: I am allergic to latex.") == [("allergies", "I am allergic to latex.")]


def test_decimal_points_do_not_end_a_sentence():
    assert found("Your temperature is 38.5 degrees.") == [("vital-signs", "Your temperature is 38.5 degrees.")]


def test_no_fact_of_the_sample_holds_a_word_that_was_not_said_there():
    spoken = " ".join(line.partition(": ")[2] for line in sample.text().splitlines())

    facts = extract([Utterance(0, 0, sample.text())])

    assert len(facts) >= 14
    assert all(one.quote in spoken and one.text == one.quote for one in facts)
    assert all(one.group in FACT_GROUPS for one in facts)
