"""Runs commands as a person does: arguments in, exit status and both outputs back, in a folder of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from fhir_bridge import log
from fhir_bridge.cli import entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = "Callable[..., Ran]"


@pytest.fixture(autouse=True)
def _quiet_log() -> Iterator[None]:
    """A command that serves sends events to its stderr, which is gone after the test."""
    yield
    log._logger.handlers.clear()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Return what runs a command; keyword arguments are settings in the environment."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **settings: str) -> Ran:
        with monkeypatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(f"FHIR_BRIDGE_{name.upper()}", value)
            capsys.readouterr()
            status = entry.run(arguments)
        told = capsys.readouterr()
        return Ran(status, told.out, told.err)

    return run
