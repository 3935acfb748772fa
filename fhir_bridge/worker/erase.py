"""Erasures carried to their end: Corti is told until it has forgotten, whoever is killed on the way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fhir_bridge import log, points
from fhir_bridge.errors import CortiError
from fhir_bridge.store import erasure
from fhir_bridge.store.jobs import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.store.erasure import Erasure
    from fhir_bridge.verbs.erase import Eraser
    from fhir_bridge.worker.accounts import Accounts


def carry_on(eraser: Eraser, accounts: Accounts, *, stopping: Callable[[], bool] = lambda: False) -> None:
    """Go on with every erasure that has not ended; any number of workers may do it at the same time."""
    for this in eraser.store.of_all().read(erasure.unfinished):
        if stopping():
            return
        try:
            drive(eraser, accounts, this)
        except CortiError as error:
            log.event("erasure.waits", tenant=this.tenant, erasure=this.id, error=type(error).__name__)


def drive(eraser: Eraser, accounts: Accounts, this: Erasure) -> Erasure:
    """Bring one erasure as far as it goes now; it is `erased` when nobody has anything left.

    Raises:
        CortiError: Corti did not take the deletion: all else is done, and it is to be asked again.
    """
    if this.state == "erased":
        return this
    this = eraser.forget(eraser.destroy(this))
    _delete_at_corti(eraser, accounts, this)
    if now_ms() < this.settled_ms:
        return this  # a worker that was stopped in mid-call may have made something since: it is looked for again
    return eraser.finish(eraser.current(this))


def _delete_at_corti(eraser: Eraser, accounts: Accounts, this: Erasure) -> None:
    pending = json.loads(this.corti)
    if not pending:
        return
    client = accounts.of(this.tenant).client
    for one in pending:
        points.reached("erase.asking")
        if one["corti_id"] is None:
            found = client.find_interaction(one["identifier"])
            one["corti_id"] = None if found is None else found.id
        if one["corti_id"] is not None:
            client.delete_interaction(one["corti_id"])
        points.reached("erase.asked")
    known = json.dumps(pending)
    if known != this.corti:  # its id is kept for the proof: another round finds it no more
        eraser.store.of(this.tenant).write(lambda conn: erasure.note(conn, this.id, corti=known))
