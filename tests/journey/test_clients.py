"""FHIR clients of other projects, unmodified, on whole journeys against a bridge that listens on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest
from conftest import INTEROP, wav
from werkzeug.serving import make_server

from fhir_bridge.fhir.rest.served import offers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask

    from fhir_bridge.settings import Settings

pytestmark = pytest.mark.interop

INTERACTIONS = ("vread", "history-instance", "history-type", "patch", "delete")


@pytest.fixture
def door() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def web_settings(sqlite_settings: Settings, door: socket.socket) -> Settings:
    return sqlite_settings.model_copy(update={"public_url": f"http://127.0.0.1:{door.getsockname()[1]}"})


@pytest.fixture
def base(app: Flask, door: socket.socket, web_settings: Settings) -> Iterator[str]:
    """The base URL of a bridge that serves."""
    server = make_server("127.0.0.1", door.getsockname()[1], app, threaded=True, fd=door.fileno())
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    yield f"{web_settings.public_url}/fhir"
    server.shutdown()
    serving.join()


@pytest.fixture
def journey(node: str, base: str, ehr: Any, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Run a script of interop/ as an EHR; return what it saw."""
    audio = tmp_path / "recording.wav"
    audio.write_bytes(wav())
    told = {"FHIR_BASE": base, "ACCESS_TOKEN": ehr.token, "AUDIO": str(audio), "PATH": os.environ["PATH"]}

    def run(script: str) -> dict[str, Any]:
        called = [node, str(INTEROP / script)]
        done = subprocess.run(called, env=told, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603 - our own script
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_fhir_kit_client_finds_everything_that_is_declared_to_work(journey):
    seen = journey("fhir-kit-client.mjs")

    assert seen["everything"] == ["Encounter", "Task", "Media", "Task"]
    assert sorted(seen["paged"]) == ["0", "1", "2", "3", "4"]
    assert {what for what in INTERACTIONS if offers("Patient", what)} <= set(seen["declared"])


def test_medplum_s_client_finds_everything_that_is_declared_to_work(journey):
    seen = journey("medplum.mjs")

    assert seen["tasks"] == ["accepted"]
    assert sorted(seen["paged"]) == ["0", "1", "2", "3", "4"]
