"""Facts from what was said, by small honest rules: a fact is a quote, and no word stands in it that was not said.

A yes or no is joined with the question it answers; what is neither a clear statement nor such a pair is no fact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhir_bridge.sandbox.engine import Finding
from fhir_bridge.sandbox.rules import DENIAL, QUESTIONS, STATEMENTS, SYMPTOMS, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fhir_bridge.sandbox.engine import Utterance

FILLER = re.compile(
    r"^(?:(?:and|so|ok|okay|alright|all right|now|well|then|great|right|um|uh|oh|i see|sure|hello|hi|good morning"
    r"|good afternoon|good evening|thank you|thanks)\b[,.\s]*)+",
    re.IGNORECASE,
)
AUXILIARY = re.compile(
    r"^(?:(?:do|does|did|are|is|was|were|have|has|had|can|could|will|would|don't|doesn't|isn't|aren't|haven't)"
    r"\s+(?:you|your|there|it|the|this|that|they|he|she|any|anyone|anybody|anything)\b|any\b|ever\b)",
    re.IGNORECASE,
)
OPEN = re.compile(r"^(?:what|which|how|when|where|who|whose|why|tell me|describe)\b", re.IGNORECASE)
OPENER = re.compile(
    r"\b(?:brings? you|can i do for you|can i help|seems to be|the problem|going on|the matter|the trouble"
    r"|are you here|troubl\w+ you|bother\w+ you)\b",
    re.IGNORECASE,
)
YES = re.compile(
    r"^(?:(?:yes|yeah|yep|yup|correct|that's right|sometimes)\b|"
    r"(?:i do|i am|i have|it does|it is|there is|a little|(?:she|he) (?:does|did|has|is)|they (?:do|did|have|are))"
    r"(?=[,.!]|$))[,.\s]*",
    re.IGNORECASE,
)
NO = re.compile(
    r"^(?:(?:no|nope|nah|not really|not at all|never|none)\b"
    r"|not once|not that (?:i|we)\b"
    r"|(?:i don't|i do not|i'm not|i am not|i haven't|it doesn't|there isn't)(?=[,.!]|$))[,.\s]*",
    re.IGNORECASE,
)
ECHO = re.compile(
    r"^(?:so\b|ok(?:ay)?,? so\b|i (?:hear|see|understand)(?: that)? you\b"
    r"|you(?:'ve| have|'re| are| were)?\b|you (?:said|mentioned|told))",
    re.IGNORECASE,
)
OWN = re.compile(
    r"^(?:do|am|should|can|could|will|would|must|have|is|are|was|did) (?:i|my)\b(?! (?:ask|just ask)\b)", re.IGNORECASE
)
"""A question of the patient: the clinician's yes or no to it says nothing of the patient."""
SPEAKER = re.compile(r"^\s*(?:doctor|patient|clinician|nurse|speaker ?\d*|participant ?\d*)\s*:\s*", re.IGNORECASE)
SENTENCE = re.compile(r"[^.!?]+(?:[.!?](?=\d)[^.!?]*)*[.!?]*")
CLAUSE = re.compile(r"(?:,\s*)?\b(?:but|however)\b\s*", re.IGNORECASE)
SMALL = frozenset(
    {
        *("a", "an", "the", "and", "or", "of", "in", "on", "at", "to", "for", "with", "is", "are", "was", "it"),
        *("i", "my", "you", "your", "so", "okay", "right", "yes", "no", "have", "has", "had"),
    }
)
"""Words that do not make a sentence new."""
REMEMBERED = 3
"""How many sentences back an echo is looked for."""


@dataclass(frozen=True)
class Sentence:
    """One sentence, as it was said, and without the words people begin with."""

    said: str
    core: str

    @property
    def open(self) -> bool:
        """What, which, how: the answer is no yes or no."""
        return OPEN.match(self.core) is not None

    @property
    def asks(self) -> bool:
        """A question, even when the recogniser forgot its mark."""
        return self.said.endswith("?") or self.open or AUXILIARY.match(self.core) is not None

    @property
    def content(self) -> frozenset[str]:
        """Its words that mean something."""
        return frozenset(re.findall(r"[a-z0-9']+", self.core.lower())) - SMALL


def sentences(text: str) -> list[str]:
    """The sentences of a text, without the names of speakers that lines may begin with."""
    lines = (SPEAKER.sub("", line) for line in text.splitlines())
    return [part.strip() for line in lines for part in SENTENCE.findall(line) if re.search(r"\w", part)]


def extract(heard: Sequence[Utterance]) -> list[Finding]:
    """Facts in the order in which they were said, each once."""
    said = [Sentence(text, FILLER.sub("", text)) for one in heard for text in sentences(one.text)]
    found: dict[tuple[str, str], Finding] = {}
    for at, sentence in enumerate(said):
        before = said[at - 1] if at else None
        for finding in _findings(sentence, before, said[max(0, at - REMEMBERED) : at]):
            found.setdefault((finding.group, finding.text), finding)
    return list(found.values())


def _findings(sentence: Sentence, before: Sentence | None, recent: Sequence[Sentence]) -> list[Finding]:
    if sentence.asks:
        return []
    clauses = [clause.strip() for clause in CLAUSE.split(sentence.said) if clause.strip(" ,.")]
    asked = before if before is not None and before.asks else None
    first, rest = clauses[0], clauses[1:]
    if asked is not None and not asked.open and (YES.match(first) or NO.match(first)):
        found = _answer(asked, first)
    elif asked is not None and asked.open and OPENER.search(asked.core):
        found = _complaint(first)
    else:
        found = _statement(first, recent)
    return found + [one for clause in rest for one in _statement(clause, recent)]


def _answer(asked: Sentence, answer: str) -> list[Finding]:
    """A yes or no: by its own words when they say enough, else joined with its question."""
    if OWN.match(asked.core):
        return []
    no = NO.match(answer)
    rest = (no or YES.match(answer) or re.match("", answer)).group()  # type: ignore[union-attr]  # the empty pattern always matches
    own = _group(answer[len(rest) :], STATEMENTS) if len(answer) > len(rest) else None
    if own is not None:
        return [Finding(own, answer, answer)]
    group = _group(asked.core, QUESTIONS)
    if group is None or re.match(r"no\b|not\b", asked.core, re.IGNORECASE):
        return []
    if no and group == SYMPTOMS:
        group = DENIAL
    text = f"{asked.said} {answer}"
    return [Finding(group, text, text)]


def _complaint(answer: str) -> list[Finding]:
    """The first answer to why somebody came."""
    group = _group(FILLER.sub("", answer), STATEMENTS)
    if group is None and (bare := _group(answer, QUESTIONS)) == SYMPTOMS:
        group = bare
    if group is None:
        return []
    return [Finding("chief-complaint" if group == SYMPTOMS else group, answer, answer)]


def _statement(clause: str, recent: Sequence[Sentence]) -> list[Finding]:
    """A statement that is neither an echo nor a repetition of what was just said."""
    core = FILLER.sub("", clause)
    content = Sentence(clause, core).content
    if not content or any(content <= one.content for one in recent):
        return []
    group = _group(core, STATEMENTS)
    if group is None or (ECHO.match(clause) and not _spoken_to_a_patient(core)):
        return []
    return [Finding(group, clause, clause)]


def _spoken_to_a_patient(core: str) -> bool:
    """Findings, assessments and plans are told to `you` without being echoes."""
    return any(rule.clinical and rule.pattern.search(core) for rule in STATEMENTS)


def _group(text: str, rules: Sequence[Rule]) -> str | None:
    """The first rule that fits decides."""
    for rule in rules:
        if rule.pattern.search(text) and not (rule.unless and rule.unless.search(text)):
            return rule.group
    return None
