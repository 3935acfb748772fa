"""`serve` as an operator runs it: one command, real children, an EHR at the door."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import wave
from pathlib import Path

import pytest
import requests
from serving import Served, serving

from fhir_bridge.cli import visit
from fhir_bridge.store import oauth

SECONDS = 10


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    with serving(folder, "--sandbox", "--sandbox-script", "script.json", stream_pace="2") as running:
        yield running


@pytest.fixture
def recording(tmp_path) -> visit.Recording:
    file = tmp_path / "silence.wav"
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(bytes(2 * 16_000 * SECONDS))
    return visit.recording_of(file)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(met, seconds: float = 30.0):
    end = time.monotonic() + seconds
    while not (found := met()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def test_an_ehr_sees_facts_while_the_stream_is_still_running(served, recording):
    ehr = served.ehr()
    encounter, media = visit.post(ehr, recording, transport=None)

    early = until(lambda: (found := visit.look(ehr, encounter, media)).facts and found)
    assert early.ended is None
    assert [fact.text for fact in early.facts] == ["Allergic to penicillin"]
    assert early.words[0].text == "Are you allergic to anything?"

    end = until(lambda: (found := visit.look(ehr, encounter, media)).ended and found)
    assert end.ended == "completed"
    assert [(fact.text, fact.group, fact.loinc) for fact in end.facts] == [
        ("Allergic to penicillin", "Allergies", "48765-2"),
        ("Rest for a week", "Plan", "18776-5"),
    ]


def test_a_long_recording_is_uploaded_as_a_binary_first(served, recording, monkeypatch):
    monkeypatch.setattr(visit, "INLINE_BYTES", 1000)
    ehr = served.ehr()
    encounter, media = visit.post(ehr, recording, transport="recording")

    end = until(lambda: (found := visit.look(ehr, encounter, media)).ended and found)
    assert end.ended == "completed", end
    assert len(end.facts) == 2


def test_headers_tell_nothing_of_the_server_and_pages_are_served(served):
    answer = requests.get(f"{served.url}/fhir/metadata", timeout=10)

    assert answer.ok
    assert answer.headers["Server"] == "fhir-bridge"
    assert requests.get(f"{served.url}/docs", timeout=10).ok


def test_a_user_to_try_with_exists_beside_the_sandbox_and_in_no_database(served):
    here = requests.get(f"{served.url}/docs/sign-in.json", timeout=10).json()
    assert here["clientId"] == "swagger-ui"
    with served.store() as store:
        kept = store.read(lambda conn: oauth.user(conn, "demo"))
    assert kept is None

    session = requests.Session()
    asks = {
        "response_type": "code",
        "client_id": here["clientId"],
        "redirect_uri": here["redirect"],
        "scope": "openid user/*.cruds",
        "aud": here["aud"],
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    page = session.get(f"{served.url}/oauth/authorize", params=asks, timeout=10)
    form = {"ask": page.url.partition("ask=")[2], "name": "demo", "password": "demo"}
    page = session.post(f"{served.url}/oauth/sign-in", data=form, timeout=10)
    form |= {"answer": "allow", "scope": ["openid", "user/*.cruds"]}
    left = session.post(f"{served.url}/oauth/consent", data=form, timeout=10, allow_redirects=False)
    assert left.headers["Location"].startswith(f"{served.url}/docs/assets/oauth2-redirect.html?code=")


def test_the_greeting_names_what_is_served_and_who_listens(served):
    assert f"{served.url}/docs" in served.greeting
    assert "the local sandbox (script): not Corti, not for clinical use" in served.greeting


def test_sigterm_stops_every_part_in_time(tmp_path):
    with serving(tmp_path, "--sandbox", "--sandbox-script", "script.json") as running:
        tree = running.tree
        assert len(tree) == 4  # sandbox, web with one gunicorn worker, worker

        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)

        assert running.process.wait(30) == 0
        assert time.monotonic() - began < 30
        assert all(map(gone, tree))


def test_ctrl_c_stops_every_part_too(tmp_path):
    with serving(tmp_path) as running:
        tree = running.tree
        running.process.send_signal(signal.SIGINT)

        assert running.process.wait(30) == 0
        assert all(map(gone, tree))


def test_no_part_outlives_a_supervisor_that_was_killed(tmp_path):
    with serving(tmp_path, "--sandbox", "--sandbox-script", "script.json") as running:
        tree = running.tree
        running.process.kill()

        assert until(lambda: all(map(gone, tree)))


@pytest.mark.timeout(240)
def test_a_part_that_dies_is_started_again(tmp_path, recording):
    parts = ("sandbox", "web", "worker")
    settings = {"stream_pace": "5", "lease_seconds": "3"}
    with serving(tmp_path, "--sandbox", "--sandbox-script", "script.json", **settings) as running:
        before = {part: running.child(part) for part in parts}
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        for part in parts:
            assert until(lambda part=part: _child(running, part) not in {None, before[part]})
        assert until(lambda: _answers(running.url))

        ehr = running.ehr()
        encounter, media = visit.post(ehr, recording, transport=None)
        end = until(lambda: (found := visit.look(ehr, encounter, media)).ended and found, 60)

    assert end.ended == "completed", end
    for part in parts:
        assert f'"event": "service.child_died", "part": "{part}", "status": -9' in (tmp_path / "log").read_text()


def test_a_port_that_is_taken_ends_serve_with_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        answer = _once(tmp_path, "serve", "--port", port)

    assert answer.returncode == 1
    assert answer.stderr.startswith(f"fhir-bridge: --port {port} on 127.0.0.1: it is in use")
    assert answer.stderr.count("\n") == 1


def test_a_script_that_is_none_ends_serve_and_leaves_nothing(tmp_path):
    (tmp_path / "script.json").write_text("{")
    answer = _once(tmp_path, "serve", "--port", "0", "--sandbox", "--sandbox-script", "script.json")

    assert answer.returncode == 1
    assert "script.json is no sandbox script" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_web_serves_alone_on_a_migrated_database(tmp_path):
    assert _once(tmp_path, "migrate").returncode == 0
    web = subprocess.Popen(
        [sys.executable, "-m", "fhir_bridge.cli", "web", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with web:
        try:
            url = web.stdout.readline().removeprefix("Listening on ").strip()
            assert until(lambda: _answers(url))
        finally:
            web.terminate()
            assert web.wait(30) == 0


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health/ready", timeout=5).ok
    except requests.RequestException:
        return False


def _child(running: Served, part: str) -> int | None:
    try:
        return running.child(part)
    except (LookupError, FileNotFoundError):
        return None


def _once(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "fhir_bridge.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
