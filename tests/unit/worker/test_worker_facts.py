"""The facts of an Encounter with several recordings: each shown once, none lost, whatever Corti tells again."""

from __future__ import annotations

from collections import Counter

import pytest

from fhir_bridge.corti.messages import Fact
from fhir_bridge.sandbox import state
from fhir_bridge.sandbox.numbers import make_wav
from fhir_bridge.store import verify
from fhir_bridge.store.results import FactRow
from fhir_bridge.worker import facts, stream

RECORDING = [{"url": "urn:x-fhir-bridge:transport", "valueCode": "recording"}]
FIRST, SECOND = make_wav(48), make_wav(48, first=4_000)
IN_FIRST, IN_SECOND = ["Number 0", "Number 40"], ["Number 4000", "Number 4040"]


@pytest.fixture
def bridge_settings(settings):
    """On both databases."""
    return settings


@pytest.fixture(autouse=True)
def _verified(ward):
    """What `verify` proves holds after every test, and no id is of two Observations that count."""
    yield
    assert ward.store.read(verify.findings) == ()
    ids = Counter(one["value"] for shown in ward.all("Observation") for one in shown["identifier"] if stands(shown))
    assert all(count == 1 for count in ids.values())


def stands(observation) -> bool:
    return observation["status"] != "entered-in-error"


def shown(ward, media: str) -> dict[str, int]:
    """What the Observations of a recording say, and by how many ids each is known."""
    place = {"reference": f"Media/{media}"}
    found = [one for one in ward.all("Observation") if place in one["derivedFrom"] and stands(one)]
    assert len({one["valueString"] for one in found}) == len(found)
    return {one["valueString"]: len(one["identifier"]) for one in sorted(found, key=lambda one: one["valueString"])}


def heard(ward, encounter: str, sound: bytes, **changes) -> str:
    media = ward.record(encounter, sound, **changes)
    ward.work()
    assert ward.task_of(media)["status"] == "completed"
    return media


def planted(ward, text: str) -> state.Fact:
    """A fact that Corti keeps of an interaction, and no recording says."""
    [interaction] = ward.sandbox.state.interactions.values()
    fact = state.Fact(ward.sandbox.state.new_id(), text, "other", "core")
    interaction.facts[fact.id] = fact
    return fact


def breaking(ward) -> None:
    """From now on no connection gets further than a second."""
    ward.sandbox.switches.drop_at_byte = 16_000
    ward.sandbox.switches.untold_lost_at_break = True
    ward.sandbox.switches.breaks = ward.sandbox.state.broken + 100


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(stream, "_FIRST_PAUSE", 0.01)


# --- several recordings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("switch", "value"), [("evidence", "always"), ("evidence", "rest"), ("evidence", "never"), ("facts_stored", False)]
)
def test_facts_told_again_under_new_ids_while_another_recording_is_heard_stay_those_of_the_first(ward, switch, value):
    ward.sandbox.switches.new_fact_ids_on_resume = True
    setattr(ward.sandbox.switches, switch, value)
    encounter = ward.admit()
    first, second = heard(ward, encounter, FIRST), heard(ward, encounter, SECOND)

    assert shown(ward, first) == dict.fromkeys(IN_FIRST, 2)
    assert shown(ward, second) == dict.fromkeys(IN_SECOND, 1)


def test_a_fact_is_changed_where_it_is_shown_whichever_recording_is_heard_then(ward):
    encounter = ward.admit()
    first = heard(ward, encounter, FIRST)
    before = {one["id"]: one for one in ward.all("Observation")}
    ward.sandbox.switches.reword_known_facts = True
    second = heard(ward, encounter, SECOND, createdDateTime="2026-11-22T09:00:00Z")

    assert list(shown(ward, first)) == [f"{text} (reworded)" for text in IN_FIRST]
    assert list(shown(ward, second)) == IN_SECOND
    after = {one["id"]: one for one in ward.all("Observation")}
    changed = {"meta", "issued", "valueString"}
    for id_, one in before.items():
        assert {name for name in one if one[name] != after[id_][name]} == changed


def test_what_is_said_again_in_another_recording_is_a_fact_of_its_own(ward):
    ward.sandbox.switches.new_fact_ids_on_resume = True
    ward.sandbox.switches.evidence = "rest"
    encounter = ward.admit()
    first, second = heard(ward, encounter, FIRST), heard(ward, encounter, FIRST)

    assert shown(ward, first) == shown(ward, second) == dict.fromkeys(IN_FIRST, 1)


def test_what_may_have_been_said_again_is_known_by_both_ids(ward):
    ward.sandbox.switches.new_fact_ids_on_resume = True
    ward.sandbox.switches.evidence = "never"
    encounter = ward.admit()
    first, second = heard(ward, encounter, FIRST), heard(ward, encounter, FIRST)

    assert shown(ward, first) == dict.fromkeys(IN_FIRST, 2)
    assert shown(ward, second) == {}


def taken_back(ward, media: str) -> None:
    """As a deletion of the Media does it."""
    for one in ward.all("Observation"):
        ward.edit(one | {"status": "entered-in-error"})
    ward.delete(ward.resource("Media", media))


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        ({"evidence": "never", "new_fact_ids_on_resume": True}, IN_FIRST),
        ({"evidence": "never", "reword_known_facts": True}, [f"{text} (reworded)" for text in IN_FIRST]),
        ({"evidence": "rest"}, IN_FIRST),
    ],
)
def test_a_recording_that_was_taken_back_takes_no_fact_from_the_one_that_replaces_it(ward, switches, said):
    for name, value in switches.items():
        setattr(ward.sandbox.switches, name, value)
    encounter = ward.admit()
    wrong = heard(ward, encounter, FIRST)
    taken_back(ward, wrong)
    right = heard(ward, encounter, FIRST)

    assert shown(ward, wrong) == {}
    assert shown(ward, right) == dict.fromkeys(said, 1)


def test_facts_of_a_recording_that_was_taken_back_stay_so_when_another_is_heard(ward):
    encounter = ward.admit()
    taken_back(ward, heard(ward, encounter, FIRST))
    heard(ward, encounter, SECOND)

    assert ward.facts() == IN_SECOND


def test_a_fact_that_the_ehr_rejected_does_not_come_back_under_another_id(ward):
    ward.sandbox.switches.new_fact_ids_on_resume = True
    encounter = ward.admit()
    first = heard(ward, encounter, FIRST)
    rejected = next(one for one in ward.all("Observation") if one["valueString"] == "Number 40")
    ward.edit(rejected | {"status": "entered-in-error"})
    heard(ward, encounter, SECOND)

    assert shown(ward, first) == {"Number 0": 2}
    assert ward.facts() == ["Number 0", *IN_SECOND]


# --- plan B ---------------------------------------------------------------------------------------


def test_what_the_whole_recording_did_not_confirm_is_brought_back_by_nothing(ward):
    encounter = ward.admit()
    first = heard(ward, encounter, FIRST)
    planted(ward, "Nobody said this")
    ward.again(first)
    ward.work()
    assert "Nobody said this" in shown(ward, first)
    ward.again(first, transport="recording")
    ward.work()
    assert list(shown(ward, first)) == IN_FIRST
    second = heard(ward, encounter, SECOND)

    assert list(shown(ward, first)) == IN_FIRST
    assert list(shown(ward, second)) == IN_SECOND


@pytest.mark.parametrize(("evidence", "said"), [("rest", []), ("never", ["Nobody said this"])])
def test_what_was_not_confirmed_comes_back_under_another_id_only_where_nothing_says_whose_it_is(ward, evidence, said):
    ward.sandbox.switches.evidence = evidence
    encounter = ward.admit()
    first = heard(ward, encounter, FIRST)
    planted(ward, "Nobody said this")
    ward.again(first)
    ward.work()
    ward.again(first, transport="recording")
    ward.work()
    planted(ward, "Nobody said this").quote = "nobody"
    second = heard(ward, encounter, SECOND)

    assert list(shown(ward, first)) == IN_FIRST
    assert list(shown(ward, second)) == [*said, *IN_SECOND]


def test_what_is_not_confirmed_is_shown_again_when_corti_says_something_else_of_it(ward):
    encounter = ward.admit()
    first = heard(ward, encounter, FIRST)
    fact = planted(ward, "Nobody said this")
    ward.again(first)
    ward.work()
    ward.again(first, transport="recording")
    ward.work()
    fact.text = "Somebody said this"
    heard(ward, encounter, SECOND)

    assert "Somebody said this" in shown(ward, first)


def test_what_broken_streams_left_at_corti_is_not_shown_after_plan_b(ward):
    encounter = ward.admit()
    ward.work()
    planted(ward, "Nobody said this")
    breaking(ward)
    first = heard(ward, encounter, FIRST)
    assert ward.job_of(first).transport == "recording"
    ward.sandbox.switches.drop_at_byte = None
    second = heard(ward, encounter, SECOND)

    assert list(shown(ward, first)) == IN_FIRST
    assert list(shown(ward, second)) == IN_SECOND


def test_a_fact_that_somebody_added_at_corti_is_shown_after_plan_b_too(ward):
    encounter = ward.admit()
    ward.work()
    planted(ward, "Somebody wrote this").source = "user"
    breaking(ward)

    assert list(shown(ward, heard(ward, encounter, FIRST))) == [*IN_FIRST, "Somebody wrote this"]


def test_a_fact_said_in_two_uploaded_recordings_has_an_id_in_each(ward):
    encounter = ward.admit()
    first, second = (heard(ward, encounter, FIRST, extension=RECORDING) for _ in range(2))

    assert shown(ward, first) == shown(ward, second) == dict.fromkeys(IN_FIRST, 1)


def test_a_fact_with_two_ids_stays_one_after_plan_b(ward):
    ward.sandbox.switches.new_fact_ids_on_resume = True
    ward.sandbox.switches.close_at = 11.0
    encounter = ward.admit()
    first = heard(ward, encounter, FIRST)
    assert set(shown(ward, first).values()) == {2}
    ward.again(first, transport="recording")
    ward.work()

    assert shown(ward, first) == dict.fromkeys(IN_FIRST, 2)


def test_facts_of_another_recording_told_again_before_plan_b_stay_its_own(ward):
    ward.sandbox.switches.new_fact_ids_on_resume = True
    encounter = ward.admit()
    first = heard(ward, encounter, FIRST)
    planted(ward, "Number 40")
    breaking(ward)
    second = heard(ward, encounter, SECOND)

    assert list(shown(ward, first)) == IN_FIRST
    assert shown(ward, first)["Number 40"] >= 2  # more when a broken connection told them, too
    assert list(shown(ward, second)) == IN_SECOND


# --- which of several ids speaks ------------------------------------------------------------------


def test_of_several_ids_the_one_changed_last_says_what_the_observation_says():
    known = [FactRow("m", id_, "o", "l") for id_ in ("f1", "f2")]
    told = [
        Fact("f1", "changed", "plan", updated_at="2026-11-22T08:17:00Z"),
        Fact("f2", "as it was", "plan", updated_at="2026-11-22T08:16:00Z"),
    ]

    assert facts.spokesman("o", told, known) == told[0]
    assert facts.spokesman("o", [Fact("f1", "a", "plan"), Fact("f2", "b", "plan")], known).id == "f2"
