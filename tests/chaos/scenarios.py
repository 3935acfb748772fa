"""What is done to a hospital. Each scenario brings load and faults, and says how often it did what."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from hospital import CONNECTIONS, LEASE, LONG, Hospital, Postgres
from load import load

from fhir_bridge.sandbox.numbers import make_wav
from fhir_bridge.store.circuits import LONGEST_SECONDS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

__all__ = ["POINTS", "Scene", "load"]

POINTS: dict[str, str] = json.loads((Path(__file__).parent / "points.json").read_text())
WAIT = 90.0
AT_ONCE = 5
"""Jobs that one fault of Corti meets: of more, the circuit breaker would let one in five minutes try, and no other."""
AWAY = LONG + LONGEST_SECONDS
"""Patience with a Corti that is down: the circuit breaker pauses for as long again each time."""
TRIES = 4
"""How many times as often a fault is tried that does not strike each time."""
POLICY = 1008  # the close code of a Corti that looks at tokens in mid-stream (RFC 6455, 7.4.1)
DISK_SITES = (
    "intake.begun", "intake.sealed", "blob.written", "blob.finished", "blob.synced", "blob.renamed", "blob.durable",
    "accept.begun", "accept.versions", "accept.contents", "accept.jobs", "accept.audited", "write.begun",
    "write.committing", "dispatch.enqueueing", "run.writing", "run.committing", "words.added", "settle.finishing",
    "lease.renewing",
)  # fmt: skip


class Sounds:
    """Numbered audio in files: so many numbers, and the seconds of silence after each."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()

    def of(self, count: int, pause: float = 0.0) -> str:
        path = self._folder / f"{count}-{pause}.wav"
        with self._lock:
            if not path.exists():
                path.write_bytes(make_wav(count, pause=pause))
        return str(path)


@dataclass
class Scene:
    """One run of one scenario on one hospital."""

    at: Hospital
    chance: random.Random
    sounds: Sounds
    postgres: Postgres | None
    name: str
    sent: int = 0
    figures: dict[str, Any] = field(default_factory=dict)

    def send(
        self,
        count: int,
        *,
        length: int = 48,
        pause: float = 0.0,
        every: float = 0.0,
        expect: str = "completed",
        name: str = "visit",
    ) -> str:
        """Post so many visits in the background, one every so many seconds; return what their names begin with."""
        self.sent += 1
        prefix = f"{self.name}-{name}-{self.sent}"
        sound = self.sounds.of(length, pause)
        told = {"count": count, "name": prefix, "first": 0, "length": length, "expect": expect}
        self.at.check("send", sound=sound, every=every, **told)
        return prefix

    def wait(self, *, patience: float = LONG) -> None:
        """Until everything that was sent has ended; what does not while for so long nothing ends is stuck."""
        stuck = self.at.check("wait", patience=patience)["waiting"]
        self.figures |= {"waited_in_vain": stuck} if stuck else {}

    @contextmanager
    def switched(self, **switches: Any) -> Iterator[None]:
        """Let Corti be so for the length of a block."""
        usual = {"config_delay": 0.0, "close_at": None, "refused_formats": [], "config_denied": None}
        usual |= {"token_seconds": 300, "token_checked_midstream": False, "ended": True, "usage": "before"}
        usual |= {"config_silence": False, "unknown_messages": False, "shuffled_segments": False, "breaks": 1}
        usual |= {"new_fact_ids_on_resume": False, "time_origin": "connection", "hold_transcripts": False}
        self.at.switch(**switches)
        try:
            yield
        finally:
            self.at.switch(**{name: usual[name] for name in switches})

    def reached(self, figure: str, there: int, wanted: int) -> None:
        """Say how often something was done; less than was wanted is a failure."""
        self.figures[figure] = there
        if there < wanted:
            self.figures["missed"] = f"{figure}: {there} of {wanted}"

    def met(self, serial: str, push: Callable[[], object], seconds: float = WAIT) -> bool:
        """Wait until an armed point has happened; `push` brings load when it does not come by itself."""
        until, pushed = time.monotonic() + seconds, 0.0
        while not self.at.nursery.happened(serial):
            if time.monotonic() > until:
                return False
            if time.monotonic() - pushed > 4.0:
                push()
                pushed = time.monotonic()
            time.sleep(0.05)
        return True


# --- named points -------------------------------------------------------------------------


def points(scene: Scene, wanted: list[str]) -> None:
    """Kill a process at each of these points, once."""
    missed = []
    for group, names in _groups(wanted).items():
        with _HOW.get(group, _plain)(scene) as push:
            for name in names:
                serial = scene.at.nursery.arm(name)
                if not scene.met(serial, push):
                    missed.append(name)
                scene.at.nursery.disarm()
        scene.at.until_up()
    scene.wait()
    scene.figures |= {"killed": len(wanted) - len(missed), "of": len(wanted), "missed": missed}


def _groups(wanted: list[str]) -> dict[str, list[str]]:
    """Points that are reached under the same circumstances."""
    special = {
        "stream.breaking": "breaks", "stream.broken": "breaks", "interaction.adopting": "lost", "blob.removed": "purge",
        "interaction.patching": "patch", "interaction.patched": "patch", "dispatch.cancelling": "sweep",
        "dispatch.cancelled": "sweep", "sweep.taking": "sweep", "sweep.taken": "sweep",
    }  # fmt: skip
    known = ("planb", "suspend", "fail", "cancel", "stop", "lease", "upload", "errand", "migrate", "purge", "erase")
    groups: dict[str, list[str]] = {}
    for name in wanted:
        first = name.split(".")[0]
        groups.setdefault(special.get(name, first if first in known else "plain"), []).append(name)
    return groups


@contextmanager
def _plain(scene: Scene) -> Iterator[Callable[[], object]]:
    yield lambda: scene.send(1)


@contextmanager
def _planb(scene: Scene) -> Iterator[Callable[[], object]]:
    with scene.switched(refused_formats=["audio"]):
        yield lambda: scene.send(1)
        scene.wait()


@contextmanager
def _suspend(scene: Scene) -> Iterator[Callable[[], object]]:
    def push() -> None:
        scene.at.script({"method": "POST", "path": "/interactions/", "status": 503, "times": 3})
        scene.send(1)

    yield push
    scene.at.script()
    scene.wait()


@contextmanager
def _fail(scene: Scene) -> Iterator[Callable[[], object]]:
    names = []
    with scene.switched(config_denied="the account does not stream"):
        yield lambda: names.append(scene.send(1, expect="stopped"))
        scene.wait()
    for name in names:
        scene.at.check("operate", name=name, operation="$retry")


@contextmanager
def _cancel(scene: Scene) -> Iterator[Callable[[], object]]:
    def push() -> None:
        name = scene.send(1, expect="any")
        time.sleep(1.2)
        scene.at.check("operate", name=name, operation="$cancel")

    with scene.switched(config_delay=4.0):
        yield push
        scene.wait()


@contextmanager
def _stop(scene: Scene) -> Iterator[Callable[[], object]]:
    def push() -> None:
        scene.send(2)
        time.sleep(1.5)
        scene.at.kill(scene.chance.choice(scene.at.workers), signal.SIGTERM)

    with scene.switched(config_delay=3.0):
        yield push


@contextmanager
def _slow(scene: Scene) -> Iterator[Callable[[], object]]:
    with scene.switched(config_delay=2.5):
        yield lambda: scene.send(1)


@contextmanager
def _sweep(scene: Scene) -> Iterator[Callable[[], object]]:
    def push() -> None:
        scene.send(3)
        time.sleep(1.2)
        scene.at.kill(scene.chance.choice(scene.at.workers))

    with scene.switched(config_delay=2.5):
        yield push


@contextmanager
def _breaks(scene: Scene) -> Iterator[Callable[[], object]]:
    with scene.switched(close_at=6.0, breaks=1_000_000):
        yield lambda: scene.send(1)
        scene.wait()


@contextmanager
def _lost(scene: Scene) -> Iterator[Callable[[], object]]:
    def push() -> None:
        scene.at.script({"method": "POST", "path": "/interactions/$", "apply": True, "drop": True})
        scene.send(1)

    yield push
    scene.at.script()


@contextmanager
def _patch(scene: Scene) -> Iterator[Callable[[], object]]:
    name = scene.send(1)
    scene.wait()
    yield lambda: scene.at.check("change", name=name)


@contextmanager
def _upload(scene: Scene) -> Iterator[Callable[[], object]]:
    def push() -> None:
        same = scene.at.check("upload", sound=scene.sounds.of(48), times=30)["same"]
        scene.figures["uploads_damaged"] = scene.figures.get("uploads_damaged", 0) + (not same)

    yield push


@contextmanager
def _errand(scene: Scene) -> Iterator[Callable[[], object]]:
    yield lambda: scene.at.check("errand")


@contextmanager
def _migrate(scene: Scene) -> Iterator[Callable[[], object]]:
    """A first migration that is killed half-way, and done again."""
    n = 0

    def push() -> None:
        nonlocal n
        n += 1
        fresh = {"FHIR_BRIDGE_DATA_DIR": str(scene.at.folder / f"fresh-{n}"), "FHIR_BRIDGE_DATABASE_URL": ""}
        scene.at.run("migrate", **fresh)
        scene.at.run("migrate", **fresh)
        if scene.at.status:
            scene.figures["migrations_broken"] = scene.figures.get("migrations_broken", 0) + 1

    yield push


@contextmanager
def _purge(scene: Scene) -> Iterator[Callable[[], object]]:
    def push() -> None:
        scene.send(1)
        scene.wait()
        stray = scene.at.folder / "data" / "audio" / "00" / ("00" + "ab" * 31)
        stray.write_bytes(b"left by a crash")
        os.utime(stray, (0, 0))
        scene.at.run("purge")

    yield push


@contextmanager
def _erase(scene: Scene) -> Iterator[Callable[[], object]]:
    """Visits of one patient that are erased while they stream; each has to be gone, here and at Corti, in the end."""

    def push() -> None:
        name = scene.send(2, expect="erased")
        time.sleep(scene.chance.choice((0.3, 1.5, 3.0)))
        scene.at.check("erase", name=name)

    yield push


_HOW: dict[str, Callable[[Scene], Any]] = {
    "planb": _planb, "suspend": _suspend, "fail": _fail, "cancel": _cancel, "stop": _stop, "lease": _slow,
    "sweep": _sweep, "breaks": _breaks, "lost": _lost, "patch": _patch, "upload": _upload, "errand": _errand,
    "migrate": _migrate, "purge": _purge, "erase": _erase,
}  # fmt: skip


# --- kills and freezes --------------------------------------------------------------------


def kills(scene: Scene, count: int) -> None:
    """SIGKILL whatever chance picks, while visits come in and stream."""
    who: dict[str, int] = {}
    for _ in range(count):
        scene.send(2)
        time.sleep(0.4 + scene.chance.random() * 1.6)
        children = scene.at.web_workers()
        kinds = ["worker", "worker", "worker", *(["fork"] if children else []), "web"]
        kind = scene.chance.choice(kinds)
        who[kind] = who.get(kind, 0) + 1
        if kind == "fork":
            with suppress(ProcessLookupError):
                os.kill(scene.chance.choice(children), signal.SIGKILL)
        else:
            scene.at.kill(scene.chance.choice(scene.at.workers) if kind == "worker" else scene.at.part("web"))
    scene.at.until_up()
    scene.wait()
    scene.figures |= {"kills": count, **who}


def freezes(scene: Scene, count: int) -> None:
    """Freeze a worker past its lease until a job of its was taken over; when it thaws, it may write nothing."""
    frozen = 0
    with scene.switched(config_delay=1.5):
        for _ in range(count * TRIES):
            frozen += _frozen(scene)
            if frozen >= count:
                break
        scene.wait()
    scene.reached("frozen", frozen, count)


def _frozen(scene: Scene) -> bool:
    """Freeze one of the workers; tell whether another took over from it."""
    scene.send(4)
    time.sleep(1.0 + scene.chance.random())
    part, before = scene.chance.choice(scene.at.workers), scene.at.told("job.taken_over")
    scene.at.kill(part, signal.SIGSTOP)
    time.sleep(LEASE * 2.2)
    taken = scene.at.told("job.taken_over") > before
    scene.at.kill(part, signal.SIGCONT)
    time.sleep(0.5)
    return taken


# --- the network and Corti ----------------------------------------------------------------


def sockets(scene: Scene, count: int) -> None:
    """Cut so many connections to Corti in every way, and make others slow."""
    before = scene.at.proxy.cuts
    scene.at.proxy.share = 0.6
    for _ in range(count):
        scene.send(12)
        scene.wait()
        if scene.at.proxy.cuts - before >= count:
            break
    scene.at.proxy.share = 0.0
    scene.wait()
    scene.reached("connections", scene.at.proxy.cuts - before, count)
    scene.figures["kinds"] = dict(scene.at.proxy.met)


def tokens(scene: Scene, count: int) -> None:
    """Let tokens expire while their streams are open, and be refused for it."""
    before, refused = scene.at.closed(POLICY), 0
    with scene.switched(token_seconds=3, token_checked_midstream=True):
        for _ in range(count):
            name = scene.send(6, length=240)
            scene.wait()
            # On a busy machine a token of three seconds may be old before its first use: the job fails, as it must.
            refused += sum(
                map(int, scene.at.check("operate", name=name, operation="$retry", only="stopped")["answers"].values())
            )
            if scene.at.closed(POLICY) - before >= count:
                break
    scene.wait()
    scene.reached("expired", scene.at.closed(POLICY) - before, count)
    scene.figures["retried"] = refused


def scripts(scene: Scene, jobs: int) -> None:
    """Corti down, slow, throttling, failing, refusing, babbling, silent: so many jobs through each, some at once."""
    for name, faults, switches in _SCRIPTS:
        for begin in range(0, jobs, AT_ONCE):
            _through(scene, name, min(AT_ONCE, jobs - begin), faults, switches)
    scene.figures |= {"scripts": len(_SCRIPTS), "jobs": jobs}


def _through(scene: Scene, name: str, jobs: int, faults: list[dict[str, Any]], switches: dict[str, Any]) -> None:
    """Send some jobs to such a Corti; it is well again after as many faults."""
    expect = "stopped" if "config_denied" in switches else "completed"
    with scene.switched(**switches):
        scene.at.script(*[{**fault, "times": fault.get("times", jobs)} for fault in faults])
        visits = scene.send(jobs, expect=expect, name=name)
        scene.wait(patience=AWAY)
    scene.at.script()
    if expect == "stopped":
        scene.at.check("operate", name=visits, operation="$retry")
        scene.wait()


_SCRIPTS: tuple[tuple[str, list[dict[str, Any]], dict[str, Any]], ...] = (
    ("down", [{"drop": True}], {}),
    ("slow", [{"method": "POST", "path": "/interactions/", "delay": 2.0}], {}),
    ("timeout", [{"path": "/interactions/", "delay": 8.0, "times": 1}], {}),
    ("429", [{"status": 429, "headers": {"Retry-After": "1"}}], {}),
    ("500", [{"path": "/interactions/", "status": 500}], {}),
    ("503", [{"path": "/streams", "status": 503}], {}),
    ("denied", [], {"config_denied": "not allowed"}),
    ("formats", [], {"refused_formats": ["audio"]}),
    ("garbage", [{"path": "/interactions/$", "status": 200, "body": "<html>not JSON"}], {"unknown_messages": True}),
    ("no-ended", [], {"ended": False, "usage": "none", "close_at": 12.0}),
    ("answer-lost", [{"method": "POST", "path": "/interactions/$", "apply": True, "drop": True}], {}),
    (
        "breaks",
        [],
        {"close_at": 5.0, "breaks": 1_000_000, "new_fact_ids_on_resume": True, "time_origin": "interaction"},
    ),
)


# --- disk, database, clock ----------------------------------------------------------------


def disk(scene: Scene, sites: int) -> None:
    """From each of these points on the disk takes nothing for a moment, the database server's no more than ours."""
    missed = []
    for name in DISK_SITES[:sites]:
        serial = scene.at.nursery.arm(name, "full")
        push = lambda: scene.send(1)  # noqa: E731 - said here, for both
        with scene.switched(config_delay=2.0 if name == "lease.renewing" else 0.0):
            if not scene.met(serial, push):
                missed.append(name)
        scene.at.nursery.disarm()
        time.sleep(0.8)
        if scene.postgres:
            scene.postgres.room()
    scene.wait()
    scene.figures |= {"full": sites - len(missed), "of": sites, "missed": missed}
    if scene.postgres:
        scene.reached("server_panics", scene.postgres.panics(), 1)


def database(scene: Scene, times: int) -> None:
    """Take the database away in the ways it can go."""
    for _ in range(times):
        for away in (_restarted, _backends_killed, _exhausted) if scene.postgres else (_locked,):
            scene.send(4)
            time.sleep(1.0)
            away(scene)
            scene.send(2)
            scene.at.until_up()
            scene.wait()
    scene.figures["each"] = times


def _restarted(scene: Scene) -> None:
    scene.postgres.restart()


def _backends_killed(scene: Scene) -> None:
    own = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s' AND pid <> pg_backend_pid()"
    scene.postgres.do(own % scene.at.name)


def _exhausted(scene: Scene) -> None:
    """Take every connection that the server still gives, end those of the bridge, and keep them for a while."""
    held = []
    with suppress(psycopg.OperationalError):
        for _ in range(CONNECTIONS):
            held.append(psycopg.connect(scene.postgres.server.get_uri("postgres")))  # noqa: PERF401 - until it fails
    time.sleep(3.0)
    scene.figures["connections_held"] = len(held)
    for each in held:
        each.close()


def _locked(scene: Scene) -> None:
    connection = sqlite3.connect(scene.at.folder / "data" / "fhir-bridge.db", isolation_level=None, timeout=20)
    connection.execute("BEGIN IMMEDIATE")
    time.sleep(LEASE * 1.5)
    connection.execute("ROLLBACK")
    connection.close()


def clocks(scene: Scene, jumps: int) -> None:
    """Let the wall clock jump by an hour, there and back, while jobs run."""
    for n in range(jumps):
        scene.send(3)
        time.sleep(0.8)
        scene.at.nursery.shift(0.0 if n % 2 else scene.chance.choice((3600.0, -3600.0)))
        scene.send(2)
        scene.wait()
    scene.at.nursery.shift(0.0)
    scene.figures["jumps"] = jumps


# --- races ------------------------------------------------------------------------------------------


def race(scene: Scene, creates: int) -> None:
    """Sixteen threads create the same fifty identifiers under a condition."""
    found = scene.at.check("race", name=scene.name, identifiers=50, creates=creates, threads=16)
    scene.figures |= {"creates": creates, **found}
