"""Child processes that are started anew when they die, and stopped in order: none outlives this one."""

from __future__ import annotations

import selectors
import subprocess
import sys
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

import click

from fhir_bridge import clock, log

if TYPE_CHECKING:
    from collections.abc import Sequence

STOP_SECONDS: Final = 28.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
LONG_LIFE: Final = 60.0  # a child that lived this long begins with the first pause again
HOPELESS: Final = 2  # exit status: a setting that will be as wrong the next time
_STEP: Final = 0.05


@dataclass(frozen=True)
class Part:
    """How to start one child: its command, its whole environment, the descriptors it inherits."""

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    descriptors: tuple[int, ...] = ()


@dataclass
class Child:
    """One running child. Its standard input stays open as long as this process lives (lifeline)."""

    part: Part
    stderr: IO[bytes] | None = None
    deaths: int = 0
    _running: subprocess.Popen[bytes] = field(init=False)
    _began: float = field(init=False)
    _due: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._start()

    @property
    def pid(self) -> int:
        """Return the id of the process."""
        return self._running.pid

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._running.poll() is None

    def tend(self) -> None:
        """Start the child again once it died and its pause is over.

        Raises:
            click.ClickException: it says itself that it cannot work.
        """
        status = self._running.poll()
        if status is None:
            return
        if status == HOPELESS:
            raise click.ClickException(f"{self.part.name} cannot start: its message stands above")
        if self._due is None:
            self._mourn(status)
        elif clock.monotonic() >= self._due:
            self._let_go()
            self._start()

    def first_line(self, seconds: float) -> bytes:
        """Return what it prints first.

        Raises:
            click.ClickException: it printed nothing in this time, or died.
        """
        assert self._running.stdout is not None  # noqa: S101 - every child has a pipe
        with selectors.DefaultSelector() as selector:
            selector.register(self._running.stdout, selectors.EVENT_READ)
            line = self._running.stdout.readline() if selector.select(seconds) else b""
        if not line:
            raise click.ClickException(f"{self.part.name} did not start")
        return line

    def ask_to_stop(self) -> None:
        """Send SIGTERM to a child that runs."""
        if self.alive():
            self._running.terminate()

    def ended(self, until: float) -> None:
        """Wait for the end; at `until` on the monotonic clock it is killed."""
        while self.alive() and clock.monotonic() < until:
            clock.sleep(_STEP)
        if self.alive():
            self._running.kill()
        self._running.wait()
        self._let_go()

    def _let_go(self) -> None:
        for pipe in (self._running.stdin, self._running.stdout):
            if pipe is not None:
                pipe.close()

    def _start(self) -> None:
        self._began, self._due = clock.monotonic(), None
        self._running = subprocess.Popen(  # noqa: S603 - our own commands
            [sys.executable, "-m", "fhir_bridge.cli", *self.part.arguments, "--attended"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            env=self.part.environment,
            pass_fds=self.part.descriptors,
            start_new_session=True,  # Ctrl-C comes here alone, which then stops all in order
        )

    def _mourn(self, status: int) -> None:
        lived = clock.monotonic() - self._began
        self.deaths = 1 if lived > LONG_LIFE else self.deaths + 1
        self._due = clock.monotonic() + min(FIRST_PAUSE * 2.0 ** (self.deaths - 1), LONGEST_PAUSE)
        log.event("service.child_died", part=self.part.name, status=status)


def stop(groups: Sequence[Sequence[Child]]) -> None:
    """Stop one group after the other; within a group all are asked at once. Half a minute at most."""
    until = clock.monotonic() + STOP_SECONDS
    for group in groups:
        for child in group:
            child.ask_to_stop()
        for child in group:
            child.ended(until)
