"""Pollers that ask for what is new can neither lose nor repeat anything, however many write meanwhile.

Longer with --poll-seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import SECRET
from polling_writer import Writer

from fhir_bridge.store import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Ehr
    from polling_writer import Wrote

    from fhir_bridge.settings import Settings

WRITER = Path(__file__).parent / "polling_writer.py"
PROCESSES, THREADS = 2, 2
WINDOWS = (0.05, 0.3, 1.0)
LONG_AGO = "2000-01-01T00:00:00Z"


@pytest.fixture
def web_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"public_url": "http://127.0.0.1:8080"})


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    """How long writers write on each of the two databases."""
    return float(request.config.getoption("--poll-seconds")) / 2


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Poller:
    """One client that asks again and again; `seen` holds all it was told, in order."""

    ehr: Ehr
    pause: float
    seen: list[Wrote] = field(default_factory=list)
    since: str = LONG_AGO

    def run(self, done: threading.Event) -> None:
        while True:
            is_last = done.is_set()
            self.poll()
            if is_last:
                return
            time.sleep(self.pause)

    def poll(self) -> None:
        raise NotImplementedError

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """All entries of a Bundle and of those it leads to."""
        while path:
            answer = self.ehr.get(path)
            if answer.status == 401:  # a soak outlives a token
                self.ehr._token = ""
                continue
            assert answer.status == 200, answer.raw
            yield from answer.json.get("entry", [])
            links = {link["relation"]: link["url"] for link in answer.json["link"]}
            path = links.get("next", "").partition("/fhir/")[2]


class After(Poller):
    """Asks for what is newer than the newest it knows."""

    def poll(self) -> None:
        for entry in self.pages(f"Practitioner?_count=20&_lastUpdated=gt{self.since}"):
            meta = entry["resource"]["meta"]
            self.seen.append(("Practitioner", entry["resource"]["id"], int(meta["versionId"])))
            self.since = max(self.since, meta["lastUpdated"])


class Between(Poller):
    """Asks for one window of its own clock after the other."""

    def poll(self) -> None:
        until = now()
        window = f"_lastUpdated=ge{self.since}&_lastUpdated=lt{until}"
        for entry in self.pages(f"Practitioner?_count=20&{window}"):
            self.seen.append(("Practitioner", entry["resource"]["id"], int(entry["resource"]["meta"]["versionId"])))
        self.since = until

    def run(self, done: threading.Event) -> None:
        super().run(done)
        time.sleep(0.2)  # under load commits may be stamped some milliseconds ahead of the clock
        self.poll()


class Past(Poller):
    """Asks what has happened since the newest it knows; that one is told again."""

    def poll(self) -> None:
        newest = self.since
        for entry in self.pages(f"Patient/_history?_count=20&_since={self.since}"):
            _, _, id_ = entry["fullUrl"].rpartition("/")
            version = int(entry["response"]["etag"].strip('W/"'))
            self.seen.append(("Patient", id_, version))
            newest = max(newest, entry["response"]["lastModified"])
        self.since = newest


class PastByClock(Past):
    """Asks what has happened since it asked the last time."""

    def poll(self) -> None:
        asked = now()
        super().poll()
        self.since = asked


@pytest.mark.timeout(0)
def test_pollers_see_exactly_what_was_written(new_ehr, app, bridge, web_settings, seconds):
    kinds: list[type[Poller]] = [After, Between, Past, PastByClock]
    pollers = [kind(new_ehr(), window) for kind in kinds for window in WINDOWS]
    done = threading.Event()

    with ThreadPoolExecutor(len(pollers) + PROCESSES + THREADS) as pool:
        polling = [pool.submit(poller.run, done) for poller in pollers]
        writing = [pool.submit(in_a_process, new_ehr(), web_settings, seconds) for _ in range(PROCESSES)]
        writing += [pool.submit(in_a_thread, app, new_ehr(), seconds) for _ in range(THREADS)]
        try:
            written = [wrote for each in writing for wrote in each.result()]
        finally:
            done.set()
        for each in polling:
            each.result()

    created = {wrote for wrote in written if wrote[0] == "Practitioner"}
    changed = {wrote for wrote in written if wrote[0] == "Patient"}
    assert len(created) > 20
    assert len(changed) > 20
    for poller in pollers:
        told = f"{type(poller).__name__} every {poller.pause} s"
        assert set(poller.seen) == (created if isinstance(poller, After | Between) else changed), told
        if isinstance(poller, After | Between):
            assert len(poller.seen) == len(created), told
    require_order(new_ehr())
    assert bridge.store.read(verify.findings) == ()


def in_a_process(ehr: Ehr, settings: Settings, seconds: float) -> list[Wrote]:
    """What another process wrote."""
    told = {"settings": plain(settings), "client": ehr.name, "secret": SECRET}
    asked = [sys.executable, str(WRITER), json.dumps(told), str(seconds)]
    process = subprocess.run(asked, capture_output=True, text=True, timeout=seconds + 90, check=False)  # noqa: S603 - our own script
    assert process.returncode == 0, process.stderr
    return [tuple(json.loads(line)) for line in process.stdout.splitlines()]


def in_a_thread(app: Any, ehr: Ehr, seconds: float) -> list[Wrote]:
    """What another thread of this process wrote."""
    return list(Writer(app.test_client(), ehr.name, SECRET).write(seconds))


def plain(settings: Settings) -> dict[str, Any]:
    shown = settings.model_dump(mode="json", exclude_defaults=True)
    return shown | {"secret_key": settings.secret_key.get_secret_value() if settings.secret_key else None}


def require_order(ehr: Ehr) -> None:
    """Times grow with versions, all over the tenant's history."""
    poller = Poller(ehr, 0)
    times = [entry["response"]["lastModified"] for entry in poller.pages("_history?_count=200")]
    assert times == sorted(times, reverse=True)


def test_what_is_told_while_others_write_is_whole(new_ehr):
    """A search sees all of a transaction, or nothing of it."""
    done = threading.Event()
    counts: list[int] = []

    def look(ehr: Ehr) -> None:
        while not done.is_set():
            counts.append(ehr.get(f"Organization?_lastUpdated=gt{LONG_AGO}&_summary=count").json["total"])

    writer: Callable[[], object] = lambda: [seven(ehr) for _ in range(20)]  # noqa: E731 - as short as it is
    ehr = new_ehr()
    with ThreadPoolExecutor(3) as pool:
        looking = [pool.submit(look, new_ehr()) for _ in range(2)]
        pool.submit(writer).result()
        done.set()
        for each in looking:
            each.result()

    assert {count % 7 for count in counts} == {0}


def seven(ehr: Ehr) -> None:
    named = {"resourceType": "Organization", "name": "x"}
    entry = {"resource": named, "request": {"method": "POST", "url": "Organization"}}
    answer = ehr.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry] * 7})
    assert answer.status == 200, answer.raw
