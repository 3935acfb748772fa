"""The web side under gunicorn: gthread workers forked from a process that has everything imported (decision 7)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http import wsgi

from fhir_bridge import log
from fhir_bridge.app import create_app
from fhir_bridge.cli import lifeline

if TYPE_CHECKING:
    from flask import Flask
    from gunicorn.arbiter import Arbiter
    from gunicorn.config import Config
    from gunicorn.workers.base import Worker

    from fhir_bridge.settings import Settings

NAME: Final = "fhir-bridge"
THREADS: Final = 16
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - gunicorn's heartbeat files, which it opens safely; never blocked by a disk

OPTIONS: Final[dict[str, object]] = {
    "worker_class": "gthread",
    "threads": THREADS,
    "preload_app": True,
    "timeout": 60,
    "graceful_timeout": 20,
    "keepalive": 30,
    "limit_request_line": 8190,  # a search by GET may be long
    "limit_request_fields": 64,
    "limit_request_field_size": 16380,  # a token may have 8 KiB
    "accesslog": None,  # request_log writes one, without query strings
    "loglevel": "warning",
    "proc_name": NAME,
    "control_socket_disable": True,
    "worker_tmp_dir": str(_MEMORY) if _MEMORY.is_dir() else None,
}


class Quiet(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """Turns what gunicorn has to say into events: its own texts may hold URLs with query strings."""

    def setup(self, cfg: Config) -> None:
        """Add no handler: nothing is written but events."""
        self.cfg = cfg

    def access(self, *_: object) -> None:
        """The application logs requests itself."""

    def critical(self, msg: object, *args: object, **_: object) -> None:
        """Log an event."""
        _event("critical", msg, args)

    def error(self, msg: object, *args: object, **_: object) -> None:
        """Log an event."""
        _event("error", msg, args)

    def exception(self, msg: object, *args: object, **_: object) -> None:
        """Log an event with the kind of exception."""
        _event("error", msg, args)

    def warning(self, msg: object, *args: object, **_: object) -> None:
        """Log an event."""
        _event("warning", msg, args)

    def info(self, *_: object, **__: object) -> None:
        """Say nothing."""

    debug = log = info


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    def __init__(self, settings: Settings, options: dict[str, object], *, guests: bool) -> None:
        self._settings = settings
        self._guests = guests
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        wsgi.SERVER = NAME  # the Server header: neither the product nor its version
        return create_app(self._settings, guests=self._guests)


def serve(settings: Settings, descriptor: int, *, workers: int, attended: bool, guests: bool = False) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT. Ends the interpreter."""

    def post_fork(server: Arbiter, _worker: Worker) -> None:
        if attended:  # a thread of the arbiter's would have been there when it forked
            lifeline.watch(server.pid)

    _Server(
        settings,
        {
            **OPTIONS,
            "bind": f"fd://{descriptor}",
            "workers": workers,
            "logger_class": Quiet,
            "post_fork": post_fork,
            "forwarded_allow_ips": ",".join(settings.trusted_proxies),
        },
        guests=guests,
    ).run()


def _event(level: str, message: object, args: tuple[object, ...]) -> None:
    """Log gunicorn's template without what it is filled with; a text without blanks may be filled already."""
    kind = sys.exc_info()[0]
    log.event("web.server", level=level, message=str(message) if args else None, error=kind.__name__ if kind else None)
