from __future__ import annotations

import importlib.util

import pytest

from fhir_bridge.sandbox import engines, moonshine, sample, server
from fhir_bridge.sandbox.engine import CannotListen
from fhir_bridge.sandbox.shapes import FACT_GROUPS


@pytest.mark.parametrize("engine", ["moonshine", "pocketsphinx"])
def test_the_sample_is_heard_and_at_least_eight_facts_come_out(running, callers, monkeypatch, engine):
    pytest.importorskip(engines.PACKAGES[engine], reason=f"{engine} is not installed")
    monkeypatch.setattr(moonshine, "ROLLOVER_SECONDS", 20.0)
    sandbox = running(engine=engine)
    call = callers(sandbox)
    talk = call.live(call.create(), audioFormat=sample.MIME, transcription={"diarize": True})
    talk.socket.settimeout(90)
    talk.play(sample.path().read_bytes(), size=4000)
    messages = talk.end()

    words = " ".join(one["transcript"] for m in messages if m["type"] == "transcript" for one in m["data"])
    facts = {one["group"]: one for m in messages if m["type"] == "facts" for one in m["fact"]}
    assert sandbox.state.engine.name.startswith(engine)
    assert "i am allergic to penicillin" in words.lower()
    assert len(facts) >= 8
    assert set(facts) <= set(FACT_GROUPS)
    assert "penicillin" in facts["allergies"]["text"]
    assert all(one["evidence"][0]["quote"] in words for one in facts.values())


def test_a_language_the_recogniser_does_not_know_is_denied_honestly(running, callers):
    call = callers(running(engine="auto"))
    talk = call.open(call.create())
    talk.tell(
        {
            "type": "config",
            "configuration": {
                "transcription": {"primaryLanguage": "da", "participants": []},
                "mode": {"type": "transcription"},
            },
        }
    )

    assert talk.next()["reason"] == "language da is not available; available: en, en-US, en-GB"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "oracle"}, "no engine is called oracle"),
        ({"engine": "script"}, "needs --script FILE"),
        ({"engine": "pocketsphinx"}, "pocketsphinx is not installed"),
    ],
)
def test_an_engine_that_cannot_be_is_refused_with_the_remedy(options, words):
    if options["engine"] == "pocketsphinx" and importlib.util.find_spec("pocketsphinx"):
        pytest.skip("pocketsphinx is installed")
    with pytest.raises(CannotListen, match=words):
        server.start(**options)


def test_a_folder_without_a_model_and_a_file_that_is_no_script_are_refused(tmp_path):
    with pytest.raises(CannotListen, match="holds no moonshine model"):
        server.start(engine="moonshine", model_dir=tmp_path)
    (tmp_path / "tokenizer.bin").write_bytes(b"nothing")
    with pytest.raises(CannotListen, match="could not be loaded as a TINY model"):
        server.start(engine="moonshine", model_dir=tmp_path)
    bad = tmp_path / "bad.json"
    bad.write_text('{"utterances": [{"text": "no times"}]}')
    with pytest.raises(CannotListen, match="no sandbox script"):
        server.start(script=bad)


def test_with_no_recogniser_installed_the_sandbox_does_not_start(monkeypatch):
    monkeypatch.setattr(engines, "PACKAGES", {"moonshine": "no_such_package"})

    with pytest.raises(CannotListen, match="no speech recogniser is installed"):
        server.start()


def test_the_announcement_names_what_a_bridge_needs(running):
    sandbox = running(engine="numbers", client_id="me", client_secret="mine", tenant="t")

    assert sandbox.announcement() == {
        "api_url": sandbox.url,
        "auth_url": sandbox.url,
        "tenant": "t",
        "client_id": "me",
        "client_secret": "mine",
    }
