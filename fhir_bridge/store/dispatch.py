"""When, where and how many jobs run: the only file that knows DBOS (reliability.md, rule 3).

One DBOS workflow `{job}:{epoch}` spans one whole run of a job. DBOS owns queue, delay
and concurrency; who may write, and whether a run is repeated, is decided by our own
job row (store/jobs.py), so the outcome of a workflow is never read. Only DBOS's public
API is used: its steps, retries, recovery and events are not.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions

from fhir_bridge import clock, points

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection, Engine

Queue = Literal["interaction", "media"]

QUEUES: Final[tuple[Queue, ...]] = ("interaction", "media")
APPLICATION: Final = "fhir_bridge"
# The protocol between those who enqueue and those who run, not the release: workers of
# both sides of a rolling upgrade must serve each other's jobs.
PROTOCOL: Final = "1"
WORKFLOW: Final = "run"
POLL_SECONDS: Final = 0.25
WAITING: Final = ("ENQUEUED", "DELAYED")
UNFINISHED: Final = (*WAITING, "PENDING")
FINISHED: Final = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
# A process frozen while it takes a run would keep others from taking any.
IDLE_SECONDS: Final = 5.0
RATE_SECONDS: Final = 60.0
_BATCH: Final = 1000

# Never pickle: what stands in the database must not be able to run code here.
_serializer: Final = DBOSPortableJSONSerializer()


@dataclass(frozen=True)
class Ticket:
    """One run of one job: what a workflow is started with."""

    job: str
    epoch: int

    @property
    def workflow(self) -> str:
        """The workflow's id. A job never runs twice under one epoch: the id exists once."""
        return f"{self.job}:{self.epoch}"


@dataclass(frozen=True)
class Limits:
    """How many jobs run at once: in one worker, in all workers together, and of one tenant; and how often.

    `tenant` None is as many as there are. `interactions` are the jobs of that queue that begin in a minute.
    """

    worker: int
    total: int
    tenant: int | None = None
    interactions: int | None = None

    def rate(self, queue: Queue) -> int | None:
        """Return how many jobs of a queue may begin in a minute."""
        return self.interactions if queue == "interaction" else None


def migrate(url: str) -> None:
    """Create or upgrade DBOS's own tables; only the `migrate` command calls it, before any worker starts."""
    quiet()
    DBOS.migrate(_plain(url))


def enqueue(conn: Connection, ticket: Ticket, *, queue: Queue, tenant: str, delay: float = 0.0) -> None:
    """Let a worker run `ticket` after `delay` seconds, if and only if this transaction commits."""
    options = EnqueueOptions(
        workflow_name=WORKFLOW,
        queue_name=queue,
        workflow_id=ticket.workflow,
        app_version=PROTOCOL,
        queue_partition_key=tenant,  # a full queue of one tenant does not hold up the others
    )
    if delay > 0:
        options["delay_seconds"] = delay
    points.reached("dispatch.enqueueing")
    _client_of(conn.engine).enqueue_in_transaction(conn, options, ticket.job, ticket.epoch)
    points.reached("dispatch.enqueued")


@lru_cache(maxsize=16)
def _client_of(engine: Engine) -> DBOSClient:
    """A client that builds rows for transactions of ours; it never connects by itself."""
    quiet()
    return DBOSClient(system_database_engine=engine, serializer=_serializer, application_name=APPLICATION, lazy=True)


def _client_at(url: str) -> DBOSClient:
    return DBOSClient(
        system_database_url=_plain(url),
        serializer=_serializer,
        application_name=APPLICATION,
        lazy=True,
        sys_db_idle_transaction_timeout_sec=IDLE_SECONDS,
    )


class Ledger:
    """What DBOS knows of our runs: read by the sweep and by `verify`, mended by the sweep."""

    def __init__(self, url: str) -> None:
        quiet()
        # Its own engine: DBOS wants IMMEDIATE transactions on SQLite, ours are explicit.
        self._client = _client_at(url)

    def unfinished(self) -> dict[Ticket, str]:
        """Every run DBOS has not ended: ENQUEUED and DELAYED ones wait, PENDING ones hold a slot."""
        found = self._client.list_workflows(status=list(UNFINISHED), name=WORKFLOW, load_input=False, load_output=False)
        return {_ticket_of(each.workflow_id): str(each.status) for each in found}

    def cancel(self, tickets: Iterable[Ticket]) -> None:
        """Free the slots of runs whose worker is dead; without this DBOS counts them for ever."""
        workflows = [ticket.workflow for ticket in tickets]
        if workflows:
            points.reached("dispatch.cancelling")
            self._client.cancel_workflows(workflows)
            points.reached("dispatch.cancelled")

    def forget_finished(self) -> int:
        """Delete the rows of ended runs, a batch at a time, and return how many.

        DBOS counts by these rows how many interactions began in the last minute: those stay as long.
        """
        found = self._client.list_workflows(
            status=list(FINISHED), name=WORKFLOW, limit=_BATCH, load_input=False, load_output=False
        )
        counted_ms = (clock.now().timestamp() - RATE_SECONDS) * 1000
        old = [
            each.workflow_id
            for each in found
            if each.queue_name != "interaction" or (each.dequeued_at or each.created_at or 0) < counted_ms
        ]
        if old:
            points.reached("dispatch.forgetting")
            self._client.delete_workflows(old)
        return len(old)

    def share(self, queue: Queue, among: Callable[[int], int]) -> None:
        """Let no tenant have more runs of a queue at once than `among` gives it of all there may be.

        What runs is not stopped: who has more gets nothing new until it has less.
        """
        found = self._client.retrieve_queue(queue)
        total = None if found is None else found.global_concurrency
        if found is not None and total is not None:
            share = max(1, min(among(total), total))
            if found.partition_concurrency != share:
                found.set_partition_concurrency(share)

    def close(self) -> None:
        """Let go of the database."""
        self._client.destroy()


class Executor:
    """Takes runs from the queues and calls `run(job, epoch)` in a thread for each. One per process."""

    def __init__(self, url: str, limits: Limits, *, boot: str) -> None:
        """`boot` is new for each start of a process: with DBOS's default two processes run the same work."""
        self._url = _plain(url)
        self._limits = limits
        self._boot = boot

    def start(self, run: Callable[[str, int], None]) -> None:
        """Begin to take runs."""
        quiet()
        DBOS.workflow(name=WORKFLOW)(_body_of(run))
        DBOS(config=self._config())
        DBOS.listen_queues(list(QUEUES))
        self._register_queues()  # before the launch: a queue found later is polled a second later
        DBOS.launch()

    def stop(self, seconds: int) -> None:
        """Take no more runs at once; wait up to `seconds` for those that run to come back."""
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=seconds)

    def _register_queues(self) -> None:
        client = _client_at(self._url)
        for queue in QUEUES:
            rate = self._limits.rate(queue)
            client.register_queue(
                queue,
                global_concurrency=self._limits.total,
                worker_concurrency=min(self._limits.worker, self._limits.total),
                partition_concurrency=min(self._limits.tenant or self._limits.total, self._limits.total),
                limiter=None if rate is None else {"limit": rate, "period": RATE_SECONDS},
                polling_interval_sec=POLL_SECONDS,
            )
        client.destroy()

    def _config(self) -> DBOSConfig:
        return DBOSConfig(
            name=APPLICATION,
            system_database_url=self._url,
            run_migrations=False,
            executor_id=self._boot,
            application_version=PROTOCOL,
            serializer=_serializer,
            log_level="CRITICAL",
            sys_db_idle_transaction_timeout_sec=IDLE_SECONDS,
            use_listen_notify=False,  # nobody waits for messages or results here
            scheduler_polling_interval_sec=300.0,  # schedules are not used
        )


def quiet() -> None:
    """Keep DBOS from logging: it prints exceptions, and what they hold is not ours to show."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # with a handler present, DBOS adds none
    logger.propagate = False
    logger.setLevel(logging.CRITICAL)


def _body_of(run: Callable[[str, int], None]) -> Callable[[str, int], None]:
    def body(job: str, epoch: int) -> None:
        run(job, epoch)

    return body


def _plain(url: str) -> str:
    """DBOS chooses the driver itself and wants the bare dialect."""
    return "postgresql://" + url.split("://", 1)[1] if url.startswith("postgresql") else url


def _ticket_of(workflow: str) -> Ticket:
    job, _, epoch = workflow.rpartition(":")
    return Ticket(job, int(epoch))
