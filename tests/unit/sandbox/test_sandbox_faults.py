from __future__ import annotations

import time
from contextlib import suppress

import pytest
import requests
import websocket
from conftest import config, kinds, pcm, told


def admin(sandbox, method, path, body=None):
    return requests.request(method, f"{sandbox.url}/__sandbox{path}", json=body, timeout=5)


def test_switches_are_set_by_name_and_reset_forgets_everything(call, sandbox):
    call.create()

    assert admin(sandbox, "PATCH", "/switches", {"fact_key": "data"}).json()["fact_key"] == "data"
    assert admin(sandbox, "PATCH", "/switches", {"no_such": 1}).status_code == 400
    assert admin(sandbox, "PATCH", "/switches", {"fact_key": "nonsense"}).status_code == 400
    assert admin(sandbox, "POST", "/reset", {"seed": 7}).json()["fact_key"] == "fact"
    first = call.create()["interactionId"]
    admin(sandbox, "POST", "/reset", {"seed": 7})
    assert call.create()["interactionId"] == first


def test_scripted_answers_come_next_and_are_used_up(call, sandbox):
    script = [
        {"path": "/interactions/$", "method": "GET", "status": 503, "headers": {"Retry-After": "1"}},
        {"path": "/interactions/$", "status": 429, "body": {"status": 429}, "times": 2},
        {"path": "/interactions/$", "delay": 0.2},
    ]
    assert admin(sandbox, "POST", "/next", script).json() == {"pending": 3}

    answers = [call("GET", "/interactions/") for _ in range(4)]

    assert [one.status_code for one in answers] == [503, 429, 429, 200]
    assert answers[0].headers["Retry-After"] == "1"
    assert answers[1].json() == {"status": 429}
    assert answers[3].elapsed.total_seconds() > 0.2
    assert admin(sandbox, "POST", "/next", {"status": 500, "stauts": 1}).status_code == 400
    admin(sandbox, "POST", "/next", {"status": 500})
    assert admin(sandbox, "DELETE", "/next").json() == {"pending": 0}
    assert call("GET", "/interactions/").status_code == 200


def test_a_post_may_be_done_and_its_answer_lost(call, sandbox):
    body = {"encounter": {"identifier": "enc-1", "status": "planned", "type": "consultation"}}
    admin(sandbox, "POST", "/next", {"method": "POST", "apply": True, "drop": True})
    with pytest.raises(requests.ConnectionError):
        call("POST", "/interactions/", json=body)
    admin(sandbox, "POST", "/next", {"method": "POST", "apply": True, "status": 504})

    assert (
        call("POST", "/interactions/", json={"encounter": {**body["encounter"], "identifier": "enc-2"}}).status_code
        == 504
    )
    found = call("GET", "/interactions/?direction=asc").json()["interactions"]
    assert [one["encounter"]["identifier"] for one in found] == ["enc-1", "enc-2"]


def test_the_token_endpoint_can_fail_too(call, sandbox):
    admin(sandbox, "POST", "/next", {"path": "/token$", "status": 500, "body": "oops"})

    assert call.grant(grant_type="client_credentials").text == "oops"


def test_more_clients_can_be_made(call, sandbox):
    assert "second" in admin(sandbox, "POST", "/clients", {"second": "s3cret"}).json()
    assert call.grant(grant_type="client_credentials", client_id="second", client_secret="s3cret").status_code == 200


def stream(call, count=44, name="enc"):
    """A stream with this much sound, all its messages, and its talk."""
    talk = call.live(call.create(name))
    talk.play(pcm(count))
    return talk, talk.end()


@pytest.mark.parametrize(
    ("switch", "value", "last"),
    [
        ("usage", "after", ["ENDED", "usage"]),
        ("usage", "none", ["facts", "ENDED"]),
        ("ended", False, ["facts", "usage"]),
    ],
)
def test_usage_and_ended_come_as_switched(call, sandbox, switch, value, last):
    setattr(sandbox.switches, switch, value)

    assert kinds(stream(call)[1])[-2:] == last


@pytest.mark.parametrize("key", ["facts", "data"])
def test_facts_stand_under_another_key(call, sandbox, key):
    sandbox.switches.fact_key = key
    facts = next(one for one in stream(call)[1] if one["type"] == "facts")

    assert facts[key][0]["text"] == "Number 0"


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("upper", {"TRANSCRIPT", "FACTS", "DELTA_USAGE", "USAGE", "ENDED"}),
        ("lower", {"transcript", "facts", "delta_usage", "usage", "ended"}),
    ],
)
def test_types_come_in_another_case(call, sandbox, case, expected):
    sandbox.switches.type_case = case

    assert set(kinds(stream(call)[1])) == expected


def test_facts_are_told_again_with_the_same_id_and_new_words(call, sandbox):
    sandbox.switches.repeat_facts = True
    facts = [one for message in stream(call, 8)[1] if message["type"] == "facts" for one in message["fact"]]

    assert [one["text"] for one in facts] == ["Number 0", "Number 0 (reworded)"]
    assert facts[0]["id"] == facts[1]["id"]


def test_segments_come_out_of_order_in_one_message(call, sandbox):
    sandbox.switches.shuffled_segments = sandbox.switches.hold_transcripts = True
    message = stream(call, 12)[1][0]

    assert [one["transcript"] for one in message["data"]] == ["8 9 10 11", "4 5 6 7", "0 1 2 3"]


def test_undocumented_messages_are_sent(call, sandbox):
    sandbox.switches.unknown_messages = True

    assert kinds(stream(call)[1])[:2] == ["somethingNew", "audioEvent"]


def test_the_last_results_may_be_late(call, sandbox):
    sandbox.switches.final_delay = 0.5
    began = time.monotonic()
    stream(call, 4)

    assert time.monotonic() - began > 0.5


def test_the_connection_is_reset_after_so_many_bytes_and_can_be_resumed(call, sandbox):
    sandbox.switches.drop_at_byte = 40_000
    interaction = call.create()
    talk = call.live(interaction)
    with pytest.raises((OSError, websocket.WebSocketException)):
        talk.play(pcm(4) * 2000)
    again = call.live(interaction)
    again.play(pcm(44))

    assert talk.rest() == []
    assert told(again.end()) == list(range(44))


@pytest.mark.parametrize("code", [1011, 1012, 1006])
def test_the_server_closes_in_the_middle(call, sandbox, code):
    sandbox.switches.close_at, sandbox.switches.close_code = 5.0, code
    talk = call.live(call.create())
    with suppress(ConnectionError, websocket.WebSocketException):  # it may be gone before all was sent
        talk.play(pcm(24))
    with suppress(ConnectionError):
        talk.rest()

    assert talk.code == (None if code == 1006 else code)


def test_what_was_heard_but_not_told_can_be_lost_at_a_break(call, sandbox):
    sandbox.switches.close_at, sandbox.switches.untold_lost_at_break = 1.4, True
    interaction = call.create()
    talk = call.live(interaction)
    talk.play(pcm(6))
    talk.rest()

    assert call("GET", f"/interactions/{interaction['interactionId']}/transcripts/").json() == {"transcripts": []}


def test_an_error_in_the_middle_ends_the_stream(call, sandbox):
    sandbox.switches.audio_error_at = 2.0
    talk = call.live(call.create())
    talk.play(pcm(40))

    messages = kinds(talk.rest())

    assert messages.count("error") == 1
    assert messages[-2:] == ["usage", "ENDED"]


def test_the_clock_of_a_resumed_stream_may_go_on(call, sandbox):
    sandbox.switches.time_origin = "interaction"
    interaction = call.create()
    first = call.live(interaction)
    first.play(pcm(8))
    first.end()
    second = call.live(interaction)
    second.play(pcm(4, first=8))

    assert second.end()[0]["data"][0]["time"]["start"] == pytest.approx(2.0, abs=0.02)


def facts_of_two_streams(call):
    """What two streams of one interaction tell, one after the other."""
    interaction, told = call.create(), []
    for _ in range(2):
        talk = call.live(interaction)
        talk.play(pcm(4))
        told += [one for message in talk.end() if message["type"] == "facts" for one in message["fact"]]
    return told


def test_a_resumed_stream_may_tell_known_facts_under_new_ids(call, sandbox):
    sandbox.switches.new_fact_ids_on_resume = True

    assert len({one["id"] for one in facts_of_two_streams(call)}) == 2


def test_a_resumed_stream_may_word_known_facts_otherwise(call, sandbox):
    sandbox.switches.reword_known_facts = True
    told = facts_of_two_streams(call)

    assert [one["text"] for one in told] == ["Number 0", "Number 0 (reworded)"]
    assert told[0]["id"] == told[1]["id"]


@pytest.mark.parametrize(("where", "told", "kept"), [("always", 1, 1), ("rest", 0, 1), ("never", 0, 0)])
def test_facts_may_name_their_evidence_on_the_socket_by_rest_or_nowhere(call, sandbox, where, told, kept):
    sandbox.switches.evidence = where
    interaction = call.create()
    talk = call.live(interaction)
    talk.play(pcm(4))
    [facts] = [message["fact"] for message in talk.end() if message["type"] == "facts"]
    [found] = call("GET", f"/interactions/{interaction['interactionId']}/facts/").json()["facts"]

    assert (len(facts[0]["evidence"]), len(found["evidence"])) == (told, kept)


def test_a_second_socket_is_allowed_refused_or_replaces_the_first(call, sandbox):
    interaction = call.create()
    first = call.live(interaction)
    call.live(interaction)

    sandbox.switches.second_socket = "refuse"
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        call.open(interaction)
    sandbox.switches.second_socket = "replace"
    call.live(interaction)
    first.rest()

    assert refused.value.status_code == 409
    assert first.code == 1008


def test_audio_faster_than_real_time_can_be_dropped_and_is_counted(call, sandbox):
    sandbox.switches.fast_audio_dropped_after = 2.0
    talk, messages = stream(call, 400)
    session = admin(sandbox, "GET", "/sessions").json()[-1]

    assert len(told(messages)) < 400
    assert session["droppedBytes"] > 0
    assert talk.code == 1000


@pytest.mark.parametrize("form", ["CONFIG_DENIED", "CONFIG_REJECTED", "error"])
def test_an_audio_format_is_refused_in_each_form(call, sandbox, form):
    sandbox.switches.refused_formats, sandbox.switches.format_refusal = ("audio/pcm",), form
    talk = call.open(call.create())
    talk.tell(config())
    messages = [talk.next()]
    if form == "error":
        talk.play(pcm(4))
    messages += talk.rest()

    assert kinds(messages)[:2] == ([form] if form != "error" else ["CONFIG_ACCEPTED", "error"])


def test_every_configuration_can_be_denied_delayed_or_left_unanswered(call, sandbox):
    sandbox.switches.config_denied = "no more streams today"
    talk = call.open(call.create("a"))
    talk.tell(config())
    assert talk.next() == {"type": "CONFIG_DENIED", "reason": "no more streams today"}

    sandbox.switches.config_denied, sandbox.switches.config_delay = None, 0.3
    began = time.monotonic()
    call.live(call.create("b"))
    assert time.monotonic() - began > 0.3

    sandbox.switches.config_silence = True
    talk = call.open(call.create("c"))
    talk.tell(config())
    talk.socket.settimeout(0.6)
    with pytest.raises(websocket.WebSocketTimeoutException):
        talk.next()
    sandbox.switches.config_silence = False
    talk.socket.settimeout(10)
    assert talk.next()["type"] == "CONFIG_ACCEPTED"


def test_config_accepted_may_be_bare_and_missing_need_not_close(call, sandbox):
    sandbox.switches.bare_config_accepted, sandbox.switches.close_after_missing = True, False
    talk = call.open(call.create())
    talk.tell({"type": "end"})
    missing = talk.next()
    talk.tell(config())

    assert missing["type"] == "CONFIG_MISSING"
    assert talk.next() == {"type": "CONFIG_ACCEPTED"}


def test_flush_may_stay_unanswered_and_the_socket_open_after_ended(call, sandbox):
    sandbox.switches.flushed = sandbox.switches.close_after_ended = False
    talk = call.live(call.create())
    talk.play(pcm(4))
    talk.tell({"type": "flush"})
    talk.tell({"type": "end"})
    messages = talk.until("ENDED")
    talk.socket.settimeout(0.3)

    assert "flushed" not in kinds(messages)
    with pytest.raises(websocket.WebSocketTimeoutException):
        talk.next()


@pytest.mark.parametrize(
    ("switch", "value", "code"),
    [("idle_timeout", 0.2, 1001), ("session_limit", 0.2, 1000), ("token_checked_midstream", True, 1008)],
)
def test_undocumented_limits_close_the_socket(call, callers, sandbox, switch, value, code):
    interaction = call.create()
    sandbox.switches.token_seconds = 3 if switch == "token_checked_midstream" else 300
    short = callers(sandbox)
    talk = short.live(interaction)
    setattr(sandbox.switches, switch, value)

    assert talk.rest() == []
    assert talk.code == code
    [shown] = admin(sandbox, "GET", "/sessions").json()
    assert [noted["code"] for noted in shown["journal"] if noted["event"] == "ended"] == [code]


def test_the_server_pings_when_switched(call, sandbox):
    sandbox.switches.ping_interval = 0.1
    talk = call.live(call.create())
    talk.socket.settimeout(3)

    opcode, _ = talk.socket.recv_data(control_frame=True)

    assert opcode == websocket.ABNF.OPCODE_PING


def test_stored_facts_can_stay_unseen(call, sandbox):
    sandbox.switches.facts_stored = False
    interaction = call.create()
    talk = call.live(interaction)
    talk.play(pcm(4))

    assert "facts" in kinds(talk.end())
    assert call("GET", f"/interactions/{interaction['interactionId']}/facts/").json() == {"facts": []}
