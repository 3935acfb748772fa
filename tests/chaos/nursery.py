"""A process that has imported the bridge and forks its commands on request: restarting one costs no second.

Reads JSON lines `{"arguments": [...], "environment": {...}, "log": path}` and answers `{"pid": n}`; `{"ended": true}`
answers which children have ended, and how. What it forks is the product as it is, but for two things that a test may
do from outside, through files in the folder of its first argument:

- `armed`: slots that name a point of fhir_bridge/points.py and what happens to the process that reaches it;
- `clock`: how many seconds the wall clock is off.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import struct
import sys
import threading
import time
from pathlib import Path

from room import take_room

from fhir_bridge import app, clock, points
from fhir_bridge.cli import gunicorn_server, main
from fhir_bridge.cli import worker as _worker
from fhir_bridge.worker import main as _main

SLOTS, SLOT = 8, 64
FULL_SECONDS = 0.7
PR_SET_PDEATHSIG = 1
del app, gunicorn_server, _worker, _main  # only their import was wanted, once for all


class Watcher:
    """Looks at each point whether something is to happen there; each armed slot happens once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with (folder / "armed").open("rb") as file:
            self._armed = mmap.mmap(file.fileno(), SLOTS * SLOT, prot=mmap.PROT_READ)
        self._seen: set[str] = set()

    def __call__(self, point: str) -> None:
        if point not in self._seen:
            self._seen.add(point)
            self._note("reached", point)
        for at in range(0, SLOTS * SLOT, SLOT):
            if self._armed[at]:
                serial, what, where = self._armed[at : at + SLOT].rstrip(b"\0").decode().split(" ")
                if where == point and self._is_first(serial):
                    self._note("happened", f"{serial} {what} {point} {os.getpid()}")
                    getattr(self, what)()

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(10)

    def full(self) -> None:
        """For a moment no file of this process grows, nor one of its database server: the kernel refuses."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        if os.environ.get("FHIR_BRIDGE_DATABASE_URL"):
            take_room(self._folder.parent / "pg")
        threading.Timer(FULL_SECONDS, resource.setrlimit, (resource.RLIMIT_FSIZE, before)).start()

    def _is_first(self, serial: str) -> bool:
        try:
            os.close(os.open(self._folder / f"hit.{serial}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _note(self, log: str, text: str) -> None:
        line = os.open(self._folder / log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(line, f"{text}\n".encode())
        os.close(line)


class Shifted(clock.Clock):
    """The machine's clock, but for what a test says it is off."""

    def __init__(self, folder: Path) -> None:
        with (folder / "clock").open("rb") as file:
            self._off = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
        self._time = time.time
        time.time = self.time

    def time(self) -> float:
        return self._time() + struct.unpack("d", self._off[:8])[0]

    def now(self):
        return clock.datetime.fromtimestamp(self.time(), clock.UTC)


def born(folder: Path, told: dict) -> None:
    """What a child does: it becomes the command."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing outlives a test that is killed
    os.environ.clear()
    os.environ.update(told["environment"])
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open(told["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    said = os.open(told["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) if "said" in told else nothing
    for descriptor, into in ((nothing, 0), (said, 1), (log, 2)):
        os.dup2(descriptor, into)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    points.watch(Watcher(folder))
    clock.use(Shifted(folder)).__enter__()
    sys.argv = ["fhir-bridge", *told["arguments"]]
    main()


def serve(folder: Path) -> None:
    for line in sys.stdin:
        told = json.loads(line)
        if "arguments" in told:
            pid = os.fork()
            if pid == 0:
                born(folder, told)
                os._exit(0)
            answer = {"pid": pid}
        else:
            answer = {"ended": dict(ended())}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def ended():
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
