"""A visit with two recordings, as its EHR reads it: each fact once, whatever Corti tells again or changes meanwhile."""

from __future__ import annotations

import pytest
from conftest import media
from test_stopped_streams import rooms, web_settings, working

from fhir_bridge.sandbox.numbers import NumbersEngine, make_wav
from fhir_bridge.sandbox.server import Sandbox

__all__ = ["rooms", "web_settings"]  # fixtures

pytestmark = pytest.mark.usefixtures("proved")
FACT_ID = "urn:x-fhir-bridge:fact-id"


@pytest.fixture
def corti():
    with Sandbox(NumbersEngine(), ("127.0.0.1", 0), ("client", "secret")) as running:
        yield running


def heard(ehr, rooms, visit: str, first: int) -> str:
    """A recording of the visit, of numbers of which every fortieth is a fact."""
    recording = ehr.create(media(visit, make_wav(12, first=first)))
    with working(rooms):
        pass
    assert ehr.get(f"Media/{recording}").json["status"] == "completed"
    return recording


def facts(ehr, search: str) -> list[dict]:
    return [one for one in ehr.get(f"Observation?{search}").found if one["status"] != "entered-in-error"]


def test_what_corti_tells_again_with_another_recording_is_found_once_and_by_each_of_its_ids(ehr, rooms, corti):
    corti.switches.new_fact_ids_on_resume = True
    corti.switches.evidence = "rest"
    visit = ehr.encounter()
    first, second = (heard(ehr, rooms, visit, number) for number in (40, 4_000))

    [one] = facts(ehr, f"derived-from=Media/{first}")
    [other] = facts(ehr, f"derived-from=Media/{second}")
    assert [one["valueString"], other["valueString"]] == ["Number 40", "Number 4000"]
    assert len(facts(ehr, f"encounter=Encounter/{visit}")) == 2
    [interaction] = corti.state.interactions.values()
    found = {id_: ehr.get(f"Observation?identifier={FACT_ID}|{id_}").ids for id_ in interaction.facts}
    assert sorted(found.values()) == sorted([[one["id"]], [one["id"]], [other["id"]]])


def test_what_corti_changes_with_another_recording_is_the_next_version_of_what_the_ehr_has(ehr, rooms, corti):
    visit = ehr.encounter()
    first = heard(ehr, rooms, visit, 40)
    [before] = facts(ehr, f"derived-from=Media/{first}")
    corti.switches.reword_known_facts = True
    heard(ehr, rooms, visit, 4_000)

    [after] = facts(ehr, f"derived-from=Media/{first}")
    assert (after["id"], after["valueString"]) == (before["id"], "Number 40 (reworded)")
    said = [one["valueString"] for one in ehr.get(f"Observation/{before['id']}/_history").found]
    assert said[0] == "Number 40 (reworded)"
    assert set(said) == {"Number 40 (reworded)", "Number 40"}
    assert len(facts(ehr, f"encounter=Encounter/{visit}")) == 2
