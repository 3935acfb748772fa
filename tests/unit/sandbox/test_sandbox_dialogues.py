"""How honest and how complete the facts of whole dialogues are.

The dialogues were written before the rules were run over them: 71 % of their facts were found at first, none with a
word that was not said, 4 in another group. The last ten were written after the rules had learned from the others, and
were never used to mend one: 37 of their 43 facts were found, none wrong.
"""

from __future__ import annotations

from pathlib import Path

from fhir_bridge.sandbox.engine import Utterance
from fhir_bridge.sandbox.extraction import extract

DIALOGUES = Path(__file__).with_name("dialogues.txt")
ENOUGH = 0.85


def dialogues():
    parts = [part.splitlines()[1:] for part in DIALOGUES.read_text().split("\n== ")[1:]]
    return [[marked(line) for line in part if line.strip()] for part in parts]


def marked(line):
    """What was said, and the groups of the facts it holds: none at all, or unknown (None)."""
    said, _, mark = line.partition(": ")[2].partition(" =>")
    groups = None if not mark.strip() else set(mark.split("|")) if mark.strip() != "-" else set()
    return said.strip(), groups and {group.strip() for group in groups}


def facts_of(lines):
    """The facts of a dialogue, by the line in which each ends."""
    found = {at: set() for at in range(len(lines))}
    for fact in extract([Utterance(0, 0, said) for said, _ in lines]):
        ends = (at for at, (said, _) in enumerate(lines) if said_in(fact.text, lines[at - 1][0] if at else "", said))
        found[next(ends)].add(fact.group)
    return found


def said_in(text, before, line):
    return text in line or (text in f"{before} {line}" and text not in before)


def test_every_word_of_every_fact_was_said_in_this_order():
    for lines in dialogues():
        spoken = " ".join(said for said, _ in lines)
        assert all(fact.quote in spoken for fact in extract([Utterance(0, 0, said) for said, _ in lines]))


def test_no_fact_of_a_dialogue_stands_in_a_wrong_group_or_comes_from_an_echo():
    wrong = [
        (lines[at][0], groups - wanted)
        for lines in dialogues()
        for at, groups in facts_of(lines).items()
        if (wanted := lines[at][1]) is not None and not groups <= wanted
    ]

    assert wrong == []


def test_most_facts_of_a_dialogue_are_found():
    wanted = [
        (lines, at, group) for lines in dialogues() for at, (_, groups) in enumerate(lines) for group in groups or ()
    ]
    found = [group for lines, at, group in wanted if group in facts_of(lines)[at]]

    assert len(wanted) > 150
    assert len(found) / len(wanted) >= ENOUGH


def test_a_question_of_the_patient_is_no_history_of_the_patient():
    heard = [Utterance(0, 0, "Do I have cancer?"), Utterance(0, 0, "No, this is a harmless lump.")]

    assert extract(heard) == []


def test_twice_negated_is_neither_denied_nor_told():
    assert extract([Utterance(0, 0, "I can't say I have no pain.")]) == []
