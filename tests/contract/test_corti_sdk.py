"""The sandbox is faithful as far as Corti's own SDK can tell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fhir_bridge.sandbox import numbers, server

INTEROP = Path(__file__).parents[2] / "interop"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (INTEROP / "node_modules" / "@corti" / "sdk").is_dir(), reason="run `npm ci` in interop/ first"
    ),
]


@pytest.fixture
def sandbox():
    with server.start(engine="numbers") as running:
        yield running


def test_corti_s_sdk_authenticates_creates_lists_streams_records_transcribes_and_reads_facts(sandbox, tmp_path):
    audio = tmp_path / "numbers.wav"
    audio.write_bytes(numbers.make_wav(48))
    names = {
        name: sandbox.announcement()[name] for name in ("api_url", "auth_url", "tenant", "client_id", "client_secret")
    }
    environment = {f"CORTI_{name.upper()}": value for name, value in names.items()}

    journey = subprocess.run(  # noqa: S603 - our own script
        [NODE, str(INTEROP / "corti-sdk.mjs")],
        env={"PATH": os.environ["PATH"], "AUDIO": str(audio), **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert journey.returncode == 0, journey.stderr
    seen = json.loads(journey.stdout)
    spoken = [str(number) for number in range(48)]
    assert " ".join(seen["streamed"]["words"]).split() == spoken
    assert " ".join(seen["transcribed"]).split() == spoken
    assert seen["streamed"]["facts"] == ["Number 0", "Number 40"]
    assert seen["kept"]["groups"] == 20
    assert seen["listed"] == 1
