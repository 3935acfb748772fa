import io
import threading

import pytest

from fhir_bridge.corti import transport
from fhir_bridge.corti.client import CortiClient
from fhir_bridge.corti.endpoint import endpoint_of
from fhir_bridge.corti.messages import CortiEncounter, InteractionDraft, Participant, Segment
from fhir_bridge.corti.recorded import FactChange, FactDraft, TranscriptDraft
from fhir_bridge.errors import (
    CortiDuplicate,
    CortiForbidden,
    CortiLoginFailed,
    CortiNonsense,
    CortiNotFound,
    CortiRefused,
    CortiThrottled,
    CortiTimeout,
    CortiUnavailable,
)

DRAFT = InteractionDraft(CortiEncounter("V-1~0a1b2c3d", "planned", "consultation"))
I = "/v2/interactions/i1"  # noqa: E741 - the path of every example
FACT = {"id": "f1", "text": "Knee pain", "group": "chief-complaint"}


def only(http):
    (seen,) = http.seen
    return seen


# --- what is sent ---------------------------------------------------------------------------


def test_every_request_names_the_tenant_and_carries_the_token(http, corti, reply):
    http.says(reply(201, {"interactionId": "i1", "websocketUrl": "wss://x"}))

    assert corti.create_interaction(DRAFT).id == "i1"

    seen = only(http)
    assert (seen.method, seen.path) == ("POST", "/v2/interactions/")
    assert seen.headers["Tenant-Name"] == "base"
    assert seen.headers["Authorization"] == "Bearer token-1"
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.json == DRAFT.to_json()


CALLS = {
    "interaction": (lambda c: c.interaction("i1"), "GET", I, {"id": "i1"}),
    "patch": (lambda c: c.patch_interaction("i1", DRAFT), "PATCH", I, {"id": "i1"}),
    "delete": (lambda c: c.delete_interaction("i1"), "DELETE", I, None),
    "recordings": (lambda c: c.recordings("i1"), "GET", f"{I}/recordings/", {"recordings": ["r1", None]}),
    "upload": (
        lambda c: c.upload_recording("i1", io.BytesIO(b"RIFF")),
        "POST",
        f"{I}/recordings/",
        {"recordingId": "r1"},
    ),
    "recording": (lambda c: b"".join(c.recording("i1", "r1")), "GET", f"{I}/recordings/r1", b"RIFF"),
    "delete recording": (lambda c: c.delete_recording("i1", "r1"), "DELETE", f"{I}/recordings/r1", None),
    "create transcript": (
        lambda c: c.create_transcript("i1", TranscriptDraft("r1", "en")).id,
        "POST",
        f"{I}/transcripts/",
        {"id": "t1"},
    ),
    "status": (lambda c: c.transcript_status("i1", "t1"), "GET", f"{I}/transcripts/t1/status", {"status": "Failed"}),
    "transcript": (lambda c: c.transcript("i1", "t1").id, "GET", f"{I}/transcripts/t1", {"id": "t1"}),
    "transcripts": (lambda c: c.transcripts("i1"), "GET", f"{I}/transcripts/?full=true", {"transcripts": None}),
    "delete transcript": (lambda c: c.delete_transcript("i1", "t1"), "DELETE", f"{I}/transcripts/t1", None),
    "facts": (lambda c: c.facts("i1")[0].id, "GET", f"{I}/facts/", {"facts": [FACT]}),
    "add facts": (lambda c: c.add_facts("i1", [FactDraft("a", "b")])[0].id, "POST", f"{I}/facts/", {"facts": [FACT]}),
    "change fact": (lambda c: c.change_fact("i1", FactChange("f1", "a"))[0].id, "PATCH", f"{I}/facts/f1", FACT),
    "change facts": (
        lambda c: c.change_facts("i1", [FactChange("f1", discarded=True)])[0].id,
        "PATCH",
        f"{I}/facts/",
        {"facts": [FACT]},
    ),
    "groups": (lambda c: c.fact_groups()[0].key, "GET", "/v2/factgroups/", {"data": [{"id": "g", "key": "plan"}]}),
    "extract": (lambda c: c.extract_facts("a", "en").facts, "POST", "/v2/tools/extract-facts", {"facts": []}),
    "languages": (lambda c: c.languages(), "GET", "/v2/languages/?endpoint=streams", {"languages": ["en"]}),
}
RESULTS = {
    "delete": True,
    "recordings": ("r1",),
    "upload": "r1",
    "recording": b"RIFF",
    "delete recording": True,
    "create transcript": "t1",
    "status": "failed",
    "transcript": "t1",
    "transcripts": (),
    "delete transcript": True,
    "facts": "f1",
    "add facts": "f1",
    "change fact": "f1",
    "change facts": "f1",
    "groups": "plan",
    "extract": (),
    "languages": ("en",),
}


@pytest.mark.parametrize("name", CALLS)
def test_collections_end_in_a_slash_and_items_do_not(http, corti, reply, name):
    call, method, path, body = CALLS[name]
    http.says(reply(204 if body is None else 200, body))

    result = call(corti)

    assert (only(http).method, only(http).path) == (method, path)
    assert name not in RESULTS or result == RESULTS[name]


def test_ids_cannot_lead_to_another_path(http, corti, reply):
    http.says(reply(200, {"facts": []}))
    corti.facts("a/../b?c")

    assert only(http).path == "/v2/interactions/a%2F..%2Fb%3Fc/facts/"


def test_bodies_of_facts_are_corti_s(http, corti, reply):
    http.says(reply(200, {"facts": []}))
    corti.add_facts("i1", [FactDraft("Knee", "plan", "system")])
    corti.change_facts("i1", [FactChange("f1", "a", discarded=True)])
    corti.change_fact("i1", FactChange("f1", "a"))
    corti.extract_facts("words", "da")

    assert [seen.json for seen in http.seen] == [
        {"facts": [{"text": "Knee", "group": "plan", "source": "system"}]},
        {"facts": [{"factId": "f1", "text": "a", "isDiscarded": True}]},
        {"text": "a"},
        {"context": [{"type": "text", "text": "words"}], "outputLanguage": "da"},
    ]


def test_what_would_be_refused_for_being_empty_is_not_sent(http, corti):
    assert corti.add_facts("i1", []) == ()
    assert corti.change_facts("i1", []) == ()
    assert corti.extract_facts(" \n", "en").facts == ()
    assert http.seen == []


def test_a_recording_is_sent_as_it_is_from_its_first_byte(http, corti, reply, tmp_path):
    sound = tmp_path / "consultation.wav"
    sound.write_bytes(bytes(range(256)) * 4_000)
    http.says(reply(201, {"recordingId": "r1"}))

    with sound.open("rb") as file:
        file.seek(1_000)
        assert corti.upload_recording("i1", file) == "r1"

    seen = only(http)
    assert seen.body == sound.read_bytes()
    assert seen.headers["Content-Type"] == "application/octet-stream"
    assert seen.headers["Content-Length"] == "1024000"


def test_interactions_are_listed_page_by_page_until_an_empty_one(http, corti, reply):
    pages = [["i1", "i2"], ["i3"], []]
    http.says(*(reply(200, {"interactions": [{"id": one} for one in page]}) for page in pages))

    assert [one.id for one in corti.interactions(status="planned", page_size=2)] == ["i1", "i2", "i3"]

    assert [seen.query["index"] for seen in http.seen] == ["1", "2", "3"]
    assert http.seen[0].query == {
        "sort": "createdAt",
        "direction": "desc",
        "pageSize": "2",
        "encounterStatus": "planned",
        "index": "1",
    }


def test_an_interaction_is_found_by_its_exact_identifier(http, corti, reply):
    page = [{"id": "i1", "encounter": {"identifier": "V-1"}}, {"id": "i2", "encounter": {"identifier": "V-1~0a1b2c3d"}}]
    http.says(reply(200, {"interactions": page}), reply(200, {"interactions": []}))

    assert corti.find_interaction("V-1~0a1b2c3d").id == "i2"
    http.says(reply(200, {"interactions": page}), reply(200, {"interactions": []}))
    assert corti.find_interaction("V-2") is None
    http.says(reply(200, {"interactions": page}))
    assert corti.find_interaction("V-1~0a1b2c3d", among=1) is None


def test_an_asynchronous_transcript_may_be_named_by_its_location_only(http, corti, reply):
    http.says(reply(202, None, {"Location": f"{http.url}/v2/interactions/i1/transcripts/t9/status"}))

    made = corti.create_transcript("i1", TranscriptDraft("r1", "en", (Participant(0, "multiple"),)))

    assert (made.id, made.status, made.segments) == ("t9", "processing", ())


def test_a_transcript_comes_in_seconds_of_its_recording(http, corti, reply):
    words = [{"channel": 0, "speakerId": 0, "text": "Good morning.", "start": 320, "end": 1410}]
    http.says(reply(200, {"id": "t1", "status": "completed", "transcripts": words}))

    assert corti.transcript("i1", "t1", seconds=60.0).segments == (Segment("Good morning.", 0.32, 1.41, speaker=0),)


def test_deleting_what_is_gone_already_is_no_error(http, corti, reply):
    http.says(reply(404, {"type": "not_found"}))

    assert corti.delete_interaction("i1") is False


# --- what goes wrong --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"type": "bad_request", "requestid": "q1"}, CortiRefused),
        (400, {"id": "A0017", "title": "Duplicate value"}, CortiDuplicate),
        (403, None, CortiForbidden),
        (404, b"<html>", CortiNotFound),
        (307, None, CortiRefused),
    ],
)
def test_a_refusal_is_told_at_once_and_not_tried_again(http, corti, reply, status, body, kind):
    http.says(reply(status, body, {"Location": f"{http.url}/elsewhere"} if status == 307 else {}))

    with pytest.raises(kind) as refused:
        corti.create_interaction(DRAFT)
    assert type(refused.value) is kind
    assert len(http.seen) == 1


def test_a_401_without_a_body_is_answered_with_one_new_token(http, corti, reply):
    http.says(reply(401, None, {"WWW-Authenticate": 'Bearer error="invalid_token"'}), reply(200, {"id": "i1"}))

    assert corti.interaction("i1").id == "i1"
    assert [seen.headers["Authorization"] for seen in http.seen] == ["Bearer token-1", "Bearer token-2"]


def test_a_second_401_is_a_failed_login(http, corti, reply):
    http.says(reply(401))

    with pytest.raises(CortiLoginFailed):
        corti.interaction("i1")
    assert len(http.seen) == 2


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_outage_is_waited_for_with_growing_patience(http, corti, reply, fake_clock, status):
    http.says(reply(status), reply(status), reply(status), reply(200, {"id": "i1"}))

    assert corti.interaction("i1").id == "i1"
    assert fake_clock.slept == [1.0, 2.0, 4.0]


def test_an_outage_that_lasts_is_told_after_four_attempts(http, corti, reply, fake_clock):
    http.says(reply(503))

    with pytest.raises(CortiUnavailable):
        corti.interaction("i1")
    assert len(http.seen) == transport.ATTEMPTS
    assert len(fake_clock.slept) == transport.ATTEMPTS - 1


def test_corti_says_how_long_to_wait(http, corti, reply, fake_clock):
    http.says(reply(429, None, {"Retry-After": "17"}), reply(200, {"id": "i1"}))

    corti.interaction("i1")
    assert fake_clock.slept == [17.0]


def test_a_long_wait_is_left_to_the_job(http, corti, reply, fake_clock):
    http.says(reply(429, {"id": "A0021"}, {"Retry-After": "3600"}))

    with pytest.raises(CortiThrottled, match="balance") as throttled:
        corti.interaction("i1")
    assert throttled.value.retry_after == 3600
    assert fake_clock.slept == []


@pytest.mark.parametrize("failure", [{"status": 500}, {"status": 503}, {"status": 504}, {"breaks": True}])
def test_an_interaction_is_never_posted_twice_when_the_first_post_may_have_worked(
    http, corti, reply, fake_clock, failure
):
    http.says(reply(**failure))

    with pytest.raises(CortiUnavailable):
        corti.create_interaction(DRAFT)
    assert len(http.seen) == 1
    assert fake_clock.slept == []


def test_an_interaction_is_posted_again_when_corti_says_it_took_nothing(http, corti, reply, fake_clock):
    http.says(reply(429), reply(201, {"interactionId": "i1"}))

    assert corti.create_interaction(DRAFT).id == "i1"
    assert fake_clock.slept == [1.0]


def test_an_upload_after_429_starts_from_the_first_byte(http, corti, reply, fake_clock):
    http.says(reply(429), reply(201, {"recordingId": "r1"}))

    corti.upload_recording("i1", io.BytesIO(b"0123456789"))
    assert [seen.body for seen in http.seen] == [b"0123456789", b"0123456789"]
    assert fake_clock.slept == [1.0]


def test_a_broken_connection_is_tried_again_where_that_is_harmless(http, corti, reply, fake_clock):
    http.says(reply(breaks=True), reply(200, {"facts": []}))

    assert corti.extract_facts("words", "en").facts == ()
    assert fake_clock.slept == [1.0]


def test_no_answer_in_time_is_a_timeout(http, endpoint, tokens, fake_clock):
    released = threading.Event()
    http.before_reply = released.wait
    impatient = CortiClient(endpoint, tokens, timeout=0.1)

    with pytest.raises(CortiTimeout):
        impatient.create_interaction(DRAFT)
    released.set()
    assert fake_clock.slept == []


def test_an_api_that_cannot_be_reached_is_an_outage(tokens, fake_clock):
    nowhere = CortiClient(endpoint_of("eu", "base", "http://127.0.0.1:1", "http://127.0.0.1:1"), tokens)

    with pytest.raises(CortiUnavailable):
        nowhere.interaction("i1")
    assert len(fake_clock.slept) == transport.ATTEMPTS - 1


@pytest.mark.parametrize("body", [b"<html>", b'{"id":NaN}', b"{}", b"[]", b"7", None])
def test_an_answer_that_is_none_is_nonsense(http, corti, reply, body):
    http.says(reply(200, body))

    with pytest.raises(CortiNonsense):
        corti.interaction("i1")


def test_an_answer_that_breaks_off_is_an_outage(http, corti, reply, fake_clock):
    http.says(reply(200, b'{"id"', {"Content-Length": "100", "Connection": "close"}), reply(200, {"id": "i1"}))

    assert corti.interaction("i1").id == "i1"
    assert fake_clock.slept == [1.0]


def test_an_answer_without_end_is_not_kept_in_memory(http, corti, reply):
    http.says(reply(200, b" " * (transport._MAX_ANSWER + 1)))

    with pytest.raises(CortiNonsense, match="larger"):
        corti.interaction("i1")


def test_neither_token_nor_words_are_in_what_is_raised_or_logged(http, corti, reply, caplog):
    http.says(reply(400, {"detail": "Anna Beispiel"}))

    with caplog.at_level("DEBUG"), pytest.raises(CortiRefused) as refused:
        corti.extract_facts("Anna Beispiel has knee pain", "en")
    told = caplog.text + repr(refused.value) + str(refused.value)
    assert "corti.request" in told
    assert "token-1" not in told
    assert "s3cret" not in told
    assert "Anna" not in told


def test_the_machines_proxies_are_not_used(http, corti, reply, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    http.says(reply(200, {"id": "i1"}))

    assert corti.interaction("i1").id == "i1"
