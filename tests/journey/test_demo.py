"""`demo` as a developer runs it on a fresh machine: one command, and facts come back."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import takewhile
from typing import TYPE_CHECKING

import pytest
import requests

from fhir_bridge.fhir.resource.models import Bundle, model_of
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.sandbox.server import start

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)


def demo(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "fhir_bridge.cli", "demo", "--exit", "--port", "0", *arguments],
        cwd=folder,
        env=_environment(settings),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def _environment(settings: dict[str, str]) -> dict[str, str]:
    return os.environ | {f"FHIR_BRIDGE_{name.upper()}": value for name, value in settings.items()}


def test_the_sample_consultation_comes_back_as_facts(tmp_path):
    ran = demo(tmp_path, "--output", "bundle.json", stream_pace="8")

    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("This demo talks to the local Corti sandbox")
    assert "not for clinical use" in lines[0]
    assert re.search(r"^00:\d\d  .*penicillin", ran.stdout, re.MULTILINE)
    assert "48765-2" in ran.stdout
    bundle = model_of(read((tmp_path / "bundle.json").read_text()))
    assert isinstance(bundle, Bundle)
    types = [entry.resource.get_resource_type() for entry in bundle.entry]
    assert types.count("Observation") >= 5
    assert {"Encounter", "Media", "Task", "DocumentReference", "Provenance"} <= set(types)
    assert list(tmp_path.iterdir()) == [tmp_path / "bundle.json"]


def test_a_corti_account_in_the_env_file_is_used_and_told_first(tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"facts": [{"at": 5, "group": "allergies", "text": "Allergic to penicillin"}]}))
    with start(script=script, client_id="id", client_secret="hush", tenant="north") as corti:
        names = "CLIENT_ID=id\nCLIENT_SECRET=hush\nTENANT_NAME=north\nENVIRONMENT=eu\nFHIR_BRIDGE_STREAM_PACE=20\n"
        urls = f"FHIR_BRIDGE_CORTI_API_URL={corti.url}\nFHIR_BRIDGE_CORTI_AUTH_URL={corti.url}\n"
        (tmp_path / ".env").write_text(names + urls)
        ran = demo(tmp_path)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"This demo talks to Corti at {corti.url}, tenant north: the recording is sent there.")
    assert "Allergic to penicillin" in ran.stdout
    assert "hush" not in ran.stdout + ran.stderr


def test_without_facts_the_demo_fails(tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"utterances": [], "facts": []}))
    with start(script=script, client_id="id", client_secret="hush") as corti:
        ran = demo(tmp_path, stream_pace="20", **_account(corti))

    assert ran.returncode == 1
    assert "No facts came back" in ran.stderr


def test_a_task_that_fails_says_why_and_the_demo_ends(tmp_path):
    with start(engine="numbers", client_id="id", client_secret="other") as corti:
        ran = demo(tmp_path, **_account(corti))

    assert ran.returncode == 1
    assert "Task failed: " in ran.stderr
    assert "client" in ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr


def test_a_file_that_is_no_audio_is_refused_by_the_bridge_in_its_own_words(tmp_path):
    (tmp_path / "notes.wav").write_text("These are notes and no recording.")
    with start(engine="numbers", client_id="id", client_secret="hush") as corti:
        ran = demo(tmp_path, "--audio", "notes.wav", **_account(corti))

    assert ran.returncode == 1
    assert "The bridge refused POST Media: This is no audio format read here" in ran.stderr


def test_a_recording_that_is_cut_short_gives_facts_with_a_warning(tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"utterances": [], "facts": [{"at": 1, "group": "plan", "text": "Rest"}]}))
    cut = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\xff\xff\xff\x7e"
    (tmp_path / "cut.wav").write_bytes(cut + bytes(2 * 8000 * 6))
    with start(script=script, client_id="id", client_secret="hush") as corti:
        ran = demo(tmp_path, "--audio", "cut.wav", stream_pace="20", **_account(corti))

    assert ran.returncode == 0, ran.stderr
    assert "Warning: The recording is cut short or damaged" in ran.stdout


def test_a_part_that_does_not_start_shows_its_last_words(tmp_path):
    ran = demo(tmp_path, sandbox_model_dir=str(tmp_path / "nowhere"))

    assert ran.returncode == 1
    assert "nowhere" in ran.stderr
    assert ran.stderr.endswith("fhir-bridge: sandbox did not start\n")
    assert "Traceback" not in ran.stderr


def test_a_file_that_is_missing_is_named_before_anything_starts(tmp_path):
    began = time.monotonic()
    ran = demo(tmp_path, "--audio", "none.wav")

    assert (ran.returncode, ran.stderr) == (1, "fhir-bridge: none.wav: No such file or directory\n")
    assert time.monotonic() - began < 20


def test_it_stays_up_with_pages_that_are_served_until_ctrl_c(tmp_path):
    script = tmp_path / "script.json"
    said = {"start": 1, "end": 3, "text": "Rest for a week."}
    script.write_text(json.dumps({"utterances": [said], "facts": [{"at": 5, "group": "plan", "text": "Rest"}]}))
    with start(script=script, client_id="id", client_secret="hush") as corti:
        process = subprocess.Popen(
            [sys.executable, "-m", "fhir_bridge.cli", "demo", "--port", "0", "--transport", "recording"],
            cwd=tmp_path,
            env=_environment(_account(corti)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                text = "".join(takewhile(lambda line: not line.startswith("Ctrl-C"), process.stdout))
                pages = re.findall(r": (http://\S+)$", text, re.MULTILINE)
                assert len(pages) >= 2, text + process.stderr.read()
                assert all(requests.get(page, timeout=10).ok for page in pages)
                _may_authorize(text)
                process.send_signal(signal.SIGINT)
                assert process.wait(40) == 0
            finally:
                process.kill()


def _may_authorize(text: str) -> None:
    """The client that is printed gets a token."""
    client, secret = re.search(r"client id (\S+) and secret (\S+)", text).groups()
    origin = re.search(r"The bridge runs at (http://\S+?)\. The", text)[1]
    form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret, "scope": "system/*.rs"}
    assert requests.post(f"{origin}/oauth/token", data=form, timeout=10).ok


def _account(corti) -> dict[str, str]:
    return {
        "corti_client_id": "id",
        "corti_client_secret": "hush",
        "corti_api_url": corti.url,
        "corti_auth_url": corti.url,
    }
