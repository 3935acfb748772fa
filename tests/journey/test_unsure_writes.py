"""The database took a write, but its answer got lost: the EHR is told to come again, and then everything is there."""

from __future__ import annotations

import pytest
from conftest import media, wav

from fhir_bridge import points
from fhir_bridge.errors import StoreUnavailable

AUDIO = wav(1.0)


@pytest.fixture
def answer_lost():
    """Lose the answer to the next COMMIT that takes a job, or a Binary."""

    def lose(after: str) -> None:
        passed = []

        def watch(point: str) -> None:
            passed.append(point)
            if point == "write.committed" and after in passed:
                points.watch(None)
                raise StoreUnavailable("The database went away in the middle of its answer")

        points.watch(watch)

    yield lose
    points.watch(None)


@pytest.fixture
def web_settings(settings):
    """On both databases."""
    return settings.model_copy(update={"public_url": "http://127.0.0.1:8080"})


def test_a_recording_whose_answer_got_lost_is_there_when_it_is_sent_again(ehr, answer_lost):
    sent = media(ehr.encounter(), AUDIO)
    answer_lost("accept.jobs")
    assert ehr.post("Media", sent).status == 503

    again = ehr.post("Media", sent)

    assert again.status == 200
    assert ehr.get(again.json["content"]["url"], Accept="audio/wav").raw == AUDIO


def test_an_upload_whose_last_answer_got_lost_is_the_binary(ehr, answer_lost):
    tus = {"Tus_Resumable": "1.0.0"}
    begun = ehr.post("Binary", b"", Upload_Length=str(len(AUDIO)), **tus)
    place = begun.headers["Location"].rpartition("/fhir/")[2]
    answer_lost("accept.contents")
    part = {"Content_Type": "application/offset+octet-stream", "Upload_Offset": "0"}
    assert ehr.call("PATCH", place, AUDIO, **part, **tus).status == 503

    assert ehr.call("HEAD", place, **tus).headers["Upload-Offset"] == str(len(AUDIO))
    assert ehr.get(place, Accept="audio/wav").raw == AUDIO
