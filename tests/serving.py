"""`serve` as an operator runs it: one command with real children, in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fhir_bridge.cli.client import Proof, registered
from fhir_bridge.cli.ehr import SCOPE, Ehr, new_key, public_jwks
from fhir_bridge.settings import Settings
from fhir_bridge.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = {
    "utterances": [
        {"start": 0.5, "end": 1.5, "speaker": 0, "channel": 0, "text": "Are you allergic to anything?"},
        {"start": 1.6, "end": 3.0, "speaker": 1, "channel": 0, "text": "I am allergic to penicillin."},
    ],
    "facts": [
        {"at": 2.0, "group": "allergies", "text": "Allergic to penicillin"},
        {"at": 9.0, "group": "plan", "text": "Rest for a week"},
    ],
}


@dataclass
class Served:
    """A running `serve`."""

    process: subprocess.Popen[str]
    url: str
    folder: Path
    greeting: str

    @property
    def tree(self) -> list[int]:
        """The pids of all its children and theirs."""
        found, todo = [], [self.process.pid]
        while todo:
            of = todo.pop()
            children = Path(f"/proc/{of}/task/{of}/children").read_text().split()
            found += map(int, children)
            todo += map(int, children)
        return found

    def child(self, command: str) -> int:
        """The pid of the child that runs a command."""
        for pid in self.tree:
            if f"fhir_bridge.cli\0{command}\0" in Path(f"/proc/{pid}/cmdline").read_text():
                return pid
        raise LookupError(command)

    def ehr(self) -> Ehr:
        key = new_key()
        with self.store() as store:
            client = registered(store, "EHR", Proof(jwks=public_jwks(key)), scope=SCOPE)
        return Ehr(self.url, str(client["client_id"]), key)

    @property
    def settings(self) -> Settings:
        """What reads its data."""
        return Settings(data_dir=self.folder / "data")

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Open its database beside it."""
        opened = Store.open(self.settings).of_all()
        yield opened
        opened.close()


@contextmanager
def serving(folder: Path, *arguments: str, **settings: str) -> Iterator[Served]:
    """Run `serve` on any port in a folder of its own; whatever happened in it, nothing is left."""
    (folder / "script.json").write_text(json.dumps(SCRIPT))
    environment = os.environ | {f"FHIR_BRIDGE_{name.upper()}": value for name, value in settings.items()}
    with (folder / "log").open("w") as stderr:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "fhir_bridge.cli", "serve", "--port", "0", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    with process:
        try:
            line = process.stdout.readline()
            found = re.search(r"http://\S+:\d+", line)
            assert found, (line, (folder / "log").read_text())
            greeting = line + process.stdout.readline() + process.stdout.readline()
            yield Served(process, found[0], folder, greeting)
        finally:
            process.terminate()
            process.wait(40)
