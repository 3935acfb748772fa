"""Sixteen clients at once over four gunicorn workers, on both databases: what may exist once exists once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from conftest import SECRET, example

from fhir_bridge.smart.client import secret_hash
from fhir_bridge.store import oauth, verify
from fhir_bridge.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROCESSES, CLIENTS = 4, 16
ROUNDS, SECONDS = 4, 10.0  # on a machine with much else to do, fewer
WEB = ("-m", "fhir_bridge.cli", "web", "--host", "127.0.0.1", "--port", "0", "--workers", str(PROCESSES))
MRN = "urn:oid:1.2.3"


@dataclass(frozen=True)
class Answer:
    status: int
    id: str | None
    location: str | None


class Race:
    """Clients that wait for each other, then ask at once; each stays with the process that took its connection."""

    def __init__(self, url: str, token: str) -> None:
        self._base = f"{url}/fhir"
        self._sessions = [requests.Session() for _ in range(CLIENTS)]
        for session in self._sessions:
            session.headers["Authorization"] = f"Bearer {token}"
        self._pool = ThreadPoolExecutor(CLIENTS)

    def run(self, method: str, path: str, body: Callable[[int], Any], **headers: str) -> list[Answer]:
        start = threading.Barrier(CLIENTS)

        def ask(n: int) -> Answer:
            start.wait(30)
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            answer = self._sessions[n].request(method, f"{self._base}/{path}", json=body(n), headers=sent, timeout=30)
            return Answer(answer.status_code, answer.json().get("id"), answer.headers.get("Location"))

        return list(self._pool.map(ask, range(CLIENTS)))

    def one(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._sessions[0].request(method, f"{self._base}/{path}", json=body, timeout=30)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    def close(self) -> None:
        self._pool.shutdown()
        for session in self._sessions:
            session.close()


@pytest.fixture
def race(settings) -> Iterator[Race]:
    env = {"FHIR_BRIDGE_DATA_DIR": str(settings.data_dir)}
    env |= {"FHIR_BRIDGE_SECRET_KEY": settings.secret_key.get_secret_value()}
    env |= {"FHIR_BRIDGE_DATABASE_URL": settings.database_url} if settings.database_url else {}
    store = Store.open(settings).of_all()
    hashed = secret_hash(SECRET)
    new = oauth.Client("racer", "default", "racer", "system/*.cruds", 0, secret_hash=hashed)
    store.write(lambda conn: oauth.add_client(conn, new))
    running = subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, *WEB],
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        url = running.stdout.readline().removeprefix("Listening on ").strip()
        made = Race(url, token_of(url))
        require_workers(running.pid)
        yield made
        made.close()
    finally:
        running.terminate()
        running.communicate(timeout=30)
    found = store.read(verify.findings)
    store.close()
    assert found == ()


def token_of(url: str) -> str:
    form = {
        "grant_type": "client_credentials",
        "scope": "system/*.cruds",
        "client_id": "racer",
        "client_secret": SECRET,
    }
    return requests.post(f"{url}/oauth/token", data=form, timeout=30).json()["access_token"]


def require_workers(pid: int) -> None:
    """Wait until all of them are there: the first to come would take all connections."""
    end = time.monotonic() + 30
    while len(children_of(pid)) < PROCESSES and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1)  # a worker that is there listens after a moment
    assert len(children_of(pid)) == PROCESSES


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def patient(value: str, **changes: Any) -> dict[str, Any]:
    return example("patient", **({"id": None, "identifier": [{"system": MRN, "value": value}]} | changes))


def statuses(answers: list[Answer]) -> dict[int, int]:
    return dict(Counter(answer.status for answer in answers))


def test_of_what_may_exist_once_there_is_one_in_every_round(race):
    end = time.monotonic() + SECONDS
    for number in range(ROUNDS):
        if number and time.monotonic() > end:
            break
        creates_by_header(race, f"h{number}")
        creates_by_url(race, f"u{number}")
        creates_by_identifier(race, f"i{number}")
        updates_by_condition(race, f"c{number}")
        updates_by_id(race, f"p{number}")
        updates_by_version(race, f"v{number}")
        patches(race, f"j{number}")
        deletions_and_revivals(race, f"d{number}")


def creates_by_header(race: Race, value: str) -> None:
    """Microsoft #1382 and HAPI #3141: parallel identical conditional creates."""
    criteria = f"identifier={MRN}|{value}"
    answers = race.run("POST", "Patient", lambda _: patient(value), If_None_Exist=criteria)

    assert statuses(answers) == {201: 1, 200: CLIENTS - 1}
    assert len({(answer.id, answer.location) for answer in answers}) == 1
    assert race.one("GET", f"Patient?{criteria}")["total"] == 1


def creates_by_url(race: Race, value: str) -> None:
    """The same in the form of fhirpy."""
    answers = race.run("POST", f"Patient?identifier={MRN}|{value}", lambda _: patient(value))

    assert statuses(answers) == {201: 1, 200: CLIENTS - 1}
    assert len({answer.id for answer in answers}) == 1


def creates_by_identifier(race: Race, value: str) -> None:
    """The same visit, sent by several: ruling 3."""
    visit = example("encounter-ambulatory", id=None, identifier=[{"system": MRN, "value": value}])
    answers = race.run("POST", "Encounter", lambda _: visit)

    assert statuses(answers) == {201: 1, 200: CLIENTS - 1}
    assert race.one("GET", f"Task?focus=Encounter/{answers[0].id}")["total"] == 1


def updates_by_condition(race: Race, value: str) -> None:
    answers = race.run("PUT", f"Patient?identifier={MRN}|{value}", lambda n: patient(value, multipleBirthInteger=n))

    assert statuses(answers) == {201: 1, 200: CLIENTS - 1}
    assert len({answer.id for answer in answers}) == 1
    assert race.one("GET", f"Patient/{answers[0].id}/_history?_count=0")["total"] == CLIENTS


def updates_by_id(race: Race, id_: str) -> None:
    answers = race.run("PUT", f"Patient/{id_}", lambda n: patient(id_, id=id_, multipleBirthInteger=n))

    assert statuses(answers) == {201: 1, 200: CLIENTS - 1}
    assert race.one("GET", f"Patient/{id_}")["meta"]["versionId"] == str(CLIENTS)


def updates_by_version(race: Race, value: str) -> None:
    """Conditional on the version: one has read the newest, and the others hear of it."""
    made = race.one("POST", "Patient", patient(value))
    path = f"Patient/{made['id']}"
    by_id = race.run("PUT", path, lambda n: made | {"multipleBirthInteger": n}, If_Match='W/"1"')
    criteria = f"Patient?identifier={MRN}|{value}"
    by_both = race.run("PUT", criteria, lambda n: made | {"multipleBirthInteger": n}, If_Match='W/"2"')

    assert statuses(by_id) == statuses(by_both) == {200: 1, 412: CLIENTS - 1}
    assert race.one("GET", path)["meta"]["versionId"] == "3"


def patches(race: Race, value: str) -> None:
    """Nothing that was answered with 200 is overwritten."""
    made = race.one("POST", "Patient", patient(value, telecom=None))
    race.one("PUT", f"Patient/{made['id']}", made | {"telecom": [{"rank": 1}]})
    path = f"Patient/{made['id']}"
    add = {"op": "add", "path": "/telecom/-"}
    answers = race.run(
        "PATCH", path, lambda n: [add | {"value": {"rank": n + 2}}], Content_Type="application/json-patch+json"
    )

    ranks = [each["rank"] for each in race.one("GET", path)["telecom"]]
    assert len(ranks) == len(set(ranks)) == 1 + statuses(answers)[200]
    assert set(statuses(answers)) <= {200, 409}
    assert statuses(answers)[200] > CLIENTS // 2


def deletions_and_revivals(race: Race, id_: str) -> None:
    """Whoever comes first deletes; whoever comes first revives."""
    race.one("PUT", f"Patient/{id_}", patient(id_, id=id_))
    gone = race.run("DELETE", f"Patient/{id_}", lambda _: None, Prefer="return=OperationOutcome")
    back = race.run("PUT", f"Patient/{id_}", lambda _: patient(id_, id=id_))

    assert statuses(gone) == {200: CLIENTS}
    assert statuses(back) == {201: 1, 200: CLIENTS - 1}
    told = race.one("GET", f"Patient/{id_}/_history?_count=200")["entry"]
    assert [entry["request"]["method"] for entry in told].count("DELETE") == 1
