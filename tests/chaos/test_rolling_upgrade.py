"""An upgrade while recordings come in: the code before the newest migration is replaced, process by process."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest
import requests

from fhir_bridge.sandbox.numbers import NumbersEngine, make_wav
from fhir_bridge.sandbox.server import Sandbox

REPO = Path(__file__).parents[2]
MIGRATIONS = "fhir_bridge/store/migrations/versions"
WORDS = 100
PUBLIC = "http://127.0.0.1:8080"


def git(*arguments, **options):
    return subprocess.run(["git", "-C", str(REPO), *arguments], capture_output=True, check=False, **options)  # noqa: S603, S607 - our own words


def before_the_newest_migration():
    newest = git("log", "-1", "--format=%H", "--", MIGRATIONS, text=True).stdout.strip()
    found = git("rev-parse", "--verify", "--quiet", f"{newest}~1", text=True) if newest else None
    return found.stdout.strip() if found is not None and found.returncode == 0 else None


@pytest.fixture
def former(tmp_path):
    """The package as it was."""
    revision = before_the_newest_migration()
    if revision is None:
        pytest.skip("needs the history of the repository")
    packed = git("archive", revision, "fhir_bridge").stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as tree:
        tree.extractall(tmp_path / "former", filter="data")
    return tmp_path / "former"


@pytest.fixture
def database(new_database):
    return new_database("upgraded")


@pytest.fixture
def corti():
    with Sandbox(NumbersEngine(), ("127.0.0.1", 0), ("client", "secret")) as running:
        yield running


class Hospital:
    """Commands of either version, on one database, one folder and one Corti."""

    def __init__(self, folder, database, corti):
        given = {"DATA_DIR": folder, "DATABASE_URL": database, "SECRET_KEY": "a key for tests only"}
        given |= {"CORTI_API_URL": corti.url, "CORTI_AUTH_URL": corti.url, "CORTI_CLIENT_ID": "client"}
        given |= {"CORTI_CLIENT_SECRET": "secret", "STREAM_PACE": 10, "LEASE_SECONDS": 3, "PUBLIC_URL": PUBLIC}
        self.environment = os.environ | {f"FHIR_BRIDGE_{name}": str(value) for name, value in given.items()}
        self.folder = folder
        self.running = []

    def command(self, tree, *arguments):
        return {
            "args": [sys.executable, "-m", "fhir_bridge.cli", *arguments],
            "env": self.environment | {"PYTHONPATH": str(tree)},
            "cwd": str(tree),
        }

    def run(self, tree, *arguments):
        done = subprocess.run(**self.command(tree, *arguments), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, tree, *arguments):
        with (self.folder / f"log-{len(self.running)}").open("w") as log:
            process = subprocess.Popen(**self.command(tree, *arguments), stdout=log, stderr=log)
        self.running.append(process)
        return process

    def web(self, tree):
        port = free_port()
        process = self.start(tree, "web", "--port", str(port), "--workers", "1")
        until(lambda: answers(f"http://127.0.0.1:{port}/health/ready"))
        return process, f"http://127.0.0.1:{port}"


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def answers(url):
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def until(true, seconds=90.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def leaves(process):
    """Ask a process to end, and see that it does so in good order."""
    process.send_signal(signal.SIGTERM)
    return process.wait(40)


class Ehr(threading.Thread):
    """Sends visit after visit to whichever web it is told, and repeats what was not answered."""

    def __init__(self, client, url):
        super().__init__(daemon=True)
        self.client, self.url = client, url
        self.taken = {}
        self.enough = threading.Event()
        self.refused = []

    def call(self, method, path, body=None):
        form = {"grant_type": "client_credentials", "scope": "system/*.cruds", **self.client}
        token = requests.post(f"{self.url}/oauth/token", data=form, timeout=20).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
        answer = requests.request(
            method, f"{self.url}/fhir/{path}", headers=headers, data=body and json.dumps(body), timeout=20
        )
        if answer.status_code >= 400:
            self.refused.append(answer.status_code)
        answer.raise_for_status()
        return answer.json()

    def run(self):
        number = 0
        while not self.enough.is_set():
            try:
                self.visit(number)
            except (requests.RequestException, KeyError):
                time.sleep(0.2)
                continue
            number += 1
            time.sleep(0.3)

    def visit(self, number):
        visit = json.loads((REPO / "tests" / "examples" / "encounter-ambulatory.json").read_text())
        visit |= {"identifier": [{"system": "urn:upgrade", "value": str(number)}]}
        encounter = self.call("POST", "Encounter", visit)["id"]
        sound = base64.b64encode(make_wav(WORDS)).decode()
        media = {"resourceType": "Media", "status": "completed", "encounter": {"reference": f"Encounter/{encounter}"}}
        media |= {"content": {"contentType": "audio/wav", "data": sound}}
        self.taken[encounter] = self.call("POST", "Media", media)["id"]

    def words(self, encounter):
        [found] = self.call("GET", f"DocumentReference?encounter=Encounter/{encounter}")["entry"]
        segments = json.loads(base64.b64decode(found["resource"]["content"][2]["attachment"]["data"]))
        return [int(word) for segment in segments for word in segment["text"].split()]

    def has_all(self):
        return all(self.call("GET", f"Media/{media}")["status"] == "completed" for media in self.taken.values())


@pytest.fixture
def hospital(tmp_path, database, corti):
    folder = tmp_path / "data"
    folder.mkdir()
    made = Hospital(folder, database, corti)
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.timeout(400)
def test_an_upgrade_process_by_process_under_load_loses_and_doubles_nothing(hospital, former, corti):
    hospital.run(former, "migrate")
    told = json.loads(hospital.run(former, "client", "add", "ehr", "--secret", "--scope", "system/*.cruds"))
    old_web, url = hospital.web(former)
    old_worker = hospital.start(former, "worker")
    ehr = Ehr({"client_id": told["client_id"], "client_secret": told["client_secret"]}, url)
    ehr.start()
    until(lambda: len(ehr.taken) >= 4)

    hospital.run(REPO, "migrate")
    seen = len(ehr.taken)
    until(lambda: len(ehr.taken) >= seen + 2)
    _, ehr.url = hospital.web(REPO)
    assert leaves(old_web) == 0
    seen = len(ehr.taken)
    until(lambda: len(ehr.taken) >= seen + 3)
    hospital.start(REPO, "worker")
    assert leaves(old_worker) == 0
    seen = len(ehr.taken)
    until(lambda: len(ehr.taken) >= seen + 3)
    ehr.enough.set()
    ehr.join()
    until(ehr.has_all)

    assert {tuple(ehr.words(encounter)) for encounter in ehr.taken} == {tuple(range(WORDS))}
    assert len(corti.state.interactions) == len(ehr.taken)
    assert set(ehr.refused) <= {502, 503}
    hospital.run(REPO, "verify")
