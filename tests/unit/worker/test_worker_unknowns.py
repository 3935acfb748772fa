"""What nobody knows of Corti (corti-api 10; reliability.md, rule 12): whichever is true, nothing is lost or doubled."""

from __future__ import annotations

import pytest

from fhir_bridge.blobs.sealing import CHUNK, TAG
from fhir_bridge.sandbox.faults import Fault
from fhir_bridge.sandbox.numbers import make_wav
from fhir_bridge.store import verify

NUMBERS = 200
BROKEN = {"close_at": 20.0}  # a break in the middle, so that a second connection has to go on


@pytest.fixture(autouse=True)
def _verified(ward):
    """What `verify` proves holds after every test."""
    yield
    assert ward.store.read(verify.findings) == ()


def switch(ward, **switches) -> None:
    for name, value in switches.items():
        setattr(ward.sandbox.switches, name, value)


def heard(ward) -> None:
    media = ward.record(ward.admit(), NUMBERS)
    ward.work()
    for _ in range(8):
        if ward.task_of(media)["status"] in {"completed", "failed"}:
            break
        ward.hurry()
    assert ward.task_of(media)["status"] == "completed", ward.task_of(media)
    assert ward.numbers() == list(range(NUMBERS))
    assert ward.facts() == sorted(set(ward.facts()))
    assert len(ward.facts()) == NUMBERS // 40


@pytest.mark.parametrize("answer", ["allow", "refuse", "replace"])
def test_a_second_socket_on_an_interaction_is_allowed_refused_or_replaces_the_first(ward, answer):
    switch(ward, second_socket=answer, **BROKEN)
    heard(ward)


@pytest.mark.parametrize("origin", ["connection", "interaction"])
@pytest.mark.parametrize("lost", [False, True])
def test_time_begins_anew_with_a_connection_or_goes_on(ward, origin, lost):
    switch(ward, time_origin=origin, untold_lost_at_break=lost, **BROKEN)
    heard(ward)


@pytest.mark.parametrize("new_ids", [False, True])
def test_a_resumed_stream_tells_facts_anew_or_not(ward, new_ids):
    switch(ward, new_fact_ids_on_resume=new_ids, **BROKEN)
    heard(ward)


@pytest.mark.parametrize("checked", [False, True])
def test_a_token_that_expires_on_an_open_socket_ends_it_or_not(ward, checked):
    """One is never sent that close to its end: here the sandbox calls it over at once, as if hours had passed."""
    switch(ward, token_checked_midstream=checked, token_seconds=300)
    if checked:
        switch(ward, close_at=20.0, close_code=1008)
    heard(ward)


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1008, 1011, 1012, 1013, 4000])
def test_whatever_code_a_connection_is_closed_with_the_next_one_goes_on(ward, code):
    switch(ward, close_code=1006 if code == 1005 else code, breaks=2, **BROKEN)
    heard(ward)


@pytest.mark.parametrize("duplicate", ["400", "409", "500", "accept"])
def test_an_identifier_that_is_taken_is_refused_in_some_form_or_accepted(ward, duplicate):
    """The answer to the first POST is lost: its interaction is there, and is the one that is used."""
    switch(ward, duplicate_identifier=duplicate)
    ward.sandbox.state.faults.append(Fault(method="POST", path="/interactions/$", status=504, apply=True))
    heard(ward)
    assert len(ward.sandbox.state.interactions) == 1


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("usage", ["before", "after", "none"])
def test_the_goodbye_comes_before_usage_after_it_or_never(ward, ended, usage):
    switch(ward, ended=ended, usage=usage)
    heard(ward)


# --- damaged audio ------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["stream", "recording"])
@pytest.mark.parametrize("chunk", [0, 1, -1])
def test_one_flipped_bit_in_any_chunk_fails_the_job_and_its_task_says_so(ward, transport, chunk):
    sound = make_wav(NUMBERS)
    assert len(sound) > 3 * CHUNK
    way = {"url": "urn:x-fhir-bridge:transport", "valueCode": transport}
    media = ward.record(ward.admit(), sound, extension=[way])
    [path] = [one for one in (ward.rooms.settings.data_dir / "audio").glob("??/*") if one.is_file()]
    stored = bytearray(path.read_bytes())
    stored[(len(stored) - 1) if chunk < 0 else chunk * (CHUNK + TAG) + 100] ^= 1
    path.write_bytes(stored)

    ward.work()

    task = ward.task_of(media)
    assert task["status"] == "failed"
    assert ward.resource("Media", media)["status"] == "stopped"
    assert "send it again" in str(task)
    assert not any(
        "data" in content["attachment"] for one in ward.all("DocumentReference") for content in one["content"]
    )
