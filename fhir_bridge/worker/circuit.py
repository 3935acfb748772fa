"""A run's way to Corti: held back while Corti does not answer, so that no attempt is spent on it (rule 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge import log
from fhir_bridge.errors import CortiPaused
from fhir_bridge.store import circuits
from fhir_bridge.store.circuits import Line

if TYPE_CHECKING:
    from fhir_bridge.errors import CortiError
    from fhir_bridge.worker.rooms import Run


class Circuit:
    """The circuit breaker as one run uses it; its state is in the store, one for all workers."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._tries = False

    def enter(self) -> None:
        """Go on when something may be sent to Corti; of those who come after a pause, one goes first.

        Raises:
            CortiPaused: not now.
        """
        line = self._line()
        if not self._run.read(lambda conn: circuits.is_open(conn, line)):
            return
        seconds = self._run.rooms.store.write(lambda conn: circuits.wait(conn, line))
        if seconds:
            raise CortiPaused(
                "Corti did not answer lately: nothing is sent until it does", retry_after=max(1, round(seconds))
            )
        self._tries = seconds is not None
        _tell(line, "trying", seconds)

    def worked(self) -> None:
        """Note that Corti answered this run."""
        line, self._tries = self._line(), False
        if self._run.read(lambda conn: circuits.is_doubted(conn, line)) and self._run.rooms.store.write(
            lambda conn: circuits.close(conn, line)
        ):
            _tell(line, "closed", None)

    def failed(self, error: CortiError) -> float:
        """Note that Corti did not; return for how long nothing is sent now."""
        if isinstance(error, CortiPaused):
            return 0.0
        line, most, tried = self._line(), self._run.rooms.settings.corti_failures, self._tries
        seconds = self._run.rooms.store.write(
            lambda conn: circuits.fail(conn, line, most=most, tried=tried, retry_after=error.retry_after)
        )
        if seconds is not None:
            _tell(line, "open", seconds)
        return seconds or 0.0

    def _line(self) -> Line:
        return Line(self._run.job.tenant, self._run.account.environment)


def _tell(line: Line, state: str, seconds: float | None) -> None:
    log.event("corti.circuit", tenant=line.tenant, region=line.region, state=state, seconds=seconds)
