"""Which sentence belongs to which of Corti's fact groups: two tables; the first row that fits wins."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fhir_bridge.sandbox.vocabulary import (
    ABNORMAL,
    ACTIVITY,
    ADVICE,
    BODY,
    CONDITION,
    DRUG,
    EXAMINED,
    FREQUENCY,
    HABIT,
    HARM,
    IMAGE,
    LAB,
    LIVING,
    NORMAL,
    NUMBER,
    RELATIVE,
    RESULT,
    SURGERY,
    SYMPTOM,
    TREATMENT,
    VITAL,
)

SYMPTOMS = "history-of-present-illness"
DENIAL = "denials-of-symptoms"


@dataclass(frozen=True)
class Rule:
    """A pattern and its group; `clinical` is what clinicians tell, `unless` takes a sentence out."""

    group: str
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None = None
    clinical: bool = False


def _rule(group: str, pattern: str, unless: str | None = None, *, clinical: bool = False) -> Rule:
    held = re.compile(unless, re.IGNORECASE) if unless else None
    return Rule(group, re.compile(pattern, re.IGNORECASE), held, clinical)


ME = r"\b(?:i|i'm|i've|i'd)\b"
MINE = r"\b(?:i|i'm|i've|i'd|my|me)\b"
NOT = r"\b(?:no|not|don't|doesn't|didn't|haven't|hasn't|never|without|deny|denies)\b"
CANNOT_SAY = r"\b(?:can't|cannot|can not|couldn't|wouldn't|won't) (?:say|claim)\b"
WILL = (
    r"\b(?:i will|i'll|we will|we'll|i'm going to|i am going to|we're going to|we are going to|i want you to"
    r"|i'd like you to|i would like you to|you should|you need to|i recommend|i suggest"
    r"|we should|let's|let us|please|(?:i'd|i would) like to(?= (?:refer|order|send|prescribe|schedule|arrange))"
    r")\b"
)
SUGGEST = r"\bi(?:'d| would)? (?:recommend|suggest) (?:that you\b|an?\b|the\b|\w+ing\b)"
SMALL_TALK = (
    r"\b(?:let's|let us|i'll|i will|we'll|we will)(?: just)? (?:start|begin)(?: by| with|\.|$)|\blet me\b"
    r"|\b(?:talk|ask|see|look|listen|examine|hear)\b(?! you\b)|\btake (?:a|off|your)\b"
)
JUDGE = (
    r"\b(?:i think|i suspect|i believe|it looks like|looks like|it sounds like|sounds like|this is|it is|it's|you have"
    r"|you've got|consistent with|most likely|probably|likely|the diagnosis|my impression)\b"
)

STATEMENTS: tuple[Rule, ...] = (
    _rule("concerns-and-expectations", rf"{MINE}.*\b(?:worried|concerned|afraid|scared)\b|\bi (?:hope|was hoping)\b"),
    _rule("allergies", r"\ballerg(?:y|ies|ic)\b|\banaphyla\w+"),
    _rule("allergies", rf"{DRUG}.*\b(?:gives?|gave|makes?|made) me\b.*{HARM}", NOT),
    _rule("plan", rf"{WILL}.*{TREATMENT}|{SUGGEST}", SMALL_TALK, clinical=True),
    _rule("plan", rf"^\W*{ADVICE}.*(?:{DRUG}|{FREQUENCY})", SMALL_TALK, clinical=True),
    _rule("family-history", rf"\bmy {RELATIVE}.*\b(?:has|have|had|died|suffer\w*|got|was|were|is)\b.*{CONDITION}"),
    _rule("family-history", r"\b(?:runs in|in) (?:my|our|the) family\b"),
    _rule("vital-signs", rf"{VITAL}.*\b(?:is|was|of|at|are)\b.*(?:{NUMBER}|{NORMAL}|\bhigh\b|\blow\b)", clinical=True),
    _rule("vital-signs", rf"\bi weigh\b.*{NUMBER}"),
    _rule("laboratory-results", rf"{LAB}.*{RESULT}", clinical=True),
    _rule("imaging-results", rf"{IMAGE}.*{RESULT}", clinical=True),
    _rule("medications-prior-to-visit", rf"{ME}.*\b(?:tak\w+|took|us\w+|on|started)\b.*{DRUG}", rf"{NOT} want"),
    _rule("social-history", rf"{MINE}.*(?:{HABIT}|{LIVING})"),
    _rule(
        "assessment", rf"{JUDGE}.*{CONDITION}", rf"{MINE[:-2]}(?! think| suspect| believe| impression)\b", clinical=True
    ),
    _rule("assessment", rf"\bi (?:think|suspect|believe) you\b.*{SYMPTOM}", r"\bmy\b", clinical=True),
    _rule(
        "normal-physical-findings",
        rf"\b(?:your|the|on exam\w*).*{BODY}.*\b(?:is|are|sounds?|looks?|feels?)\b.*{NORMAL}",
        rf"\bmy\b|{NOT}",
        clinical=True,
    ),
    _rule(
        "normal-physical-findings",
        rf"(?:\bon exam\w*.*|\byour\b.*|^there is )\bno\b.*{ABNORMAL}",
        r"\bmy\b",
        clinical=True,
    ),
    _rule("abnormal-physical-findings", rf"\b(?:your|on exam\w*)\b.*{ABNORMAL}", rf"\bmy\b|{NOT}", clinical=True),
    _rule(
        "abnormal-physical-findings",
        rf"^there(?:'s| is| are)\b.*{ABNORMAL}.*\byour\b|(?:{EXAMINED}|\bi can (?:hear|see|feel)\b).*{ABNORMAL}",
        rf"\bmy\b|{NOT}",
        clinical=True,
    ),
    _rule("demographics", rf"{ME}.*{NUMBER}.*\byears old\b"),
    _rule(
        DENIAL,
        rf"{MINE}.*{NOT}(?:\W+\w+){{0,4}}?\W+{SYMPTOM}"
        rf"|^\W*(?:no|not|without|there(?:'s| is) no)\b(?:\W+\w+){{0,3}}?\W+{SYMPTOM}",
        rf"{CANNOT_SAY}|\bnot (?:just|only|without)\b",
    ),
    _rule(
        "functional-status",
        rf"{ME}.*\b(?:can't|cannot|can not|can barely|unable|able to|struggl\w+|need help)\b.*{ACTIVITY}",
    ),
    _rule("past-medical-history", rf"{MINE}.*(?:{CONDITION}|{SURGERY})", NOT),
    _rule(
        SYMPTOMS,
        rf"(?:{MINE}|\bit\b|\bit's\b|\bthe\b).*{SYMPTOM}|\bit (?:started|began|gets|got|comes|came|hurts)\b",
        CANNOT_SAY,
    ),
)
"""Statements; the order is the priority."""

QUESTIONS: tuple[Rule, ...] = (
    _rule("allergies", r"\ballerg(?:y|ies|ic)\b"),
    _rule("family-history", rf"\byour {RELATIVE}|\b(?:in|of) (?:your|the) family\b"),
    _rule("social-history", rf"{HABIT}|\b(?:you|your)\b.*{LIVING}"),
    _rule("medications-prior-to-visit", rf"\b(?:take|taking|on|use|using|any)\b.*{DRUG}"),
    _rule("functional-status", rf"\b(?:can you|are you able|able to|do you need help)\b.*{ACTIVITY}"),
    _rule("past-medical-history", rf"{CONDITION}|{SURGERY}|\bmedical (?:problems|conditions)\b|\bchronic\b"),
    _rule(SYMPTOMS, SYMPTOM),
)
"""Questions that a yes or no was the answer to."""
