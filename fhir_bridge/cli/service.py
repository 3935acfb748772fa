"""The embedded bridge as one tree: web, worker and, when asked for, the local Corti."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click
import requests

from fhir_bridge import clock, log, net, settings
from fhir_bridge.cli import children
from fhir_bridge.cli.children import Child, Part
from fhir_bridge.cli.listening import LOOPBACK, bound, url_of
from fhir_bridge.cli.opened import reaching
from fhir_bridge.store import schema

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from fhir_bridge.settings import Settings

READY_SECONDS: Final = 60.0
_STEP: Final = 0.1


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for."""

    host: str
    port: int
    workers: int | None = None
    sandbox: bool = False
    script: Path | None = None
    any_port: bool = False  # rather than fail when `port` is taken


class Service:
    """Starts the tree, keeps it alive, stops it."""

    def __init__(self, wanted: Settings, wishes: Wishes, *, given: dict[str, str], stderr: IO[bytes] | None) -> None:
        """Bind the port. `given` are settings for the children alone, by field name."""
        self._wishes = wishes
        self._wanted = wanted
        self._given = given
        self._stderr = stderr
        self._listener = _bound(wishes)
        self._children: list[Child] = []
        self._sandbox: Child | None = None
        self.url = url_of(self._listener, wanted)
        self.engine: str | None = None

    def start(self) -> None:
        """Migrate, start all parts and return once the web side answers."""
        with reaching():
            schema.migrate(self._wanted)
        given = {**self._given, "public_url": self.url}
        if self._wishes.sandbox:
            given |= self._started_sandbox()
        descriptor = self._listener.fileno()
        web = ("web", "--fd", str(descriptor), *self._workers(), *self._guests())
        for part in (
            Part("web", web, settings.environment(**given), (descriptor,)),
            Part("worker", ("worker",), settings.environment(**given)),
        ):
            self._children.append(Child(part, self._stderr))
        self._until_ready()
        log.event("service.started", part="serve", url=self.url)

    def tend(self) -> None:
        """Look after the children once."""
        for child in (self._sandbox, *self._children):
            if child is not None:
                child.tend()

    def stop(self) -> None:
        """Stop web and worker, then the sandbox, which the worker may need to its end."""
        children.stop((self._children, [self._sandbox] if self._sandbox else []))
        self._listener.close()
        log.event("service.stopped", part="serve")

    def _workers(self) -> tuple[str, ...]:
        return ("--workers", str(self._wishes.workers)) if self._wishes.workers else ()

    def _guests(self) -> tuple[str, ...]:
        """Let in guests where nobody but this machine comes: also no proxy that gives the bridge a name."""
        near = {self._wishes.host, urlsplit(self.url).hostname} <= LOOPBACK
        return ("--guests",) if self._wishes.sandbox and near else ()

    def _started_sandbox(self) -> dict[str, str]:
        """Start the sandbox and return the settings that point the bridge at it."""
        arguments = ("--script", str(self._wishes.script)) if self._wishes.script else ()
        first = Part("sandbox", ("sandbox", "--port", "0", *arguments), settings.environment(**self._given))
        self._sandbox = Child(first, self._stderr)
        said = json.loads(self._sandbox.first_line(READY_SECONDS))
        self.engine = requests.get(f"{said['api_url']}/health", timeout=READY_SECONDS).json()["recogniser"]
        client = {"corti_client_id": said["client_id"], "corti_client_secret": said["client_secret"]}
        port = said["api_url"].rpartition(":")[2]
        # Should it die, the bridge finds the next one where this one was.
        again = ("sandbox", "--port", port, *arguments)
        self._sandbox.part = Part("sandbox", again, settings.environment(**self._given, **client))
        urls = {"corti_api_url": said["api_url"], "corti_auth_url": said["auth_url"]}
        return {**urls, **client, "corti_tenant": said["tenant"]}

    def _until_ready(self) -> None:
        host, port = self._listener.getsockname()[:2]
        session = net.session(read_seconds=5.0)
        until = clock.monotonic() + READY_SECONDS
        while clock.monotonic() < until:
            self.tend()
            if _answers(session, url_of(self._listener, self._wanted.model_copy(update={"public_url": None}))):
                return
            clock.sleep(_STEP)
        raise click.ClickException(f"web did not become ready on {host} port {port}")


def _bound(wishes: Wishes) -> socket.socket:
    try:
        return bound(wishes.host, wishes.port)
    except click.ClickException:
        if not wishes.any_port:
            raise
        return bound(wishes.host, 0)


def _answers(session: requests.Session, url: str) -> bool:
    try:
        return session.get(f"{url}/health/live").ok
    except requests.RequestException:
        return False
