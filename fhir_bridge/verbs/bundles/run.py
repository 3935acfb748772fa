"""A Bundle of requests carried out: read, planned and answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.fhir.rest.bundle import transaction_response
from fhir_bridge.verbs.bundles.asks import entries_of
from fhir_bridge.verbs.bundles.batch import batch
from fhir_bridge.verbs.bundles.transaction import transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.verbs.bundles.answers import Returns
    from fhir_bridge.verbs.write import Writer


def run(by: Writer, bundle: Json, *, returns: Returns, keep: Callable[[Iterable[str]], None]) -> str:
    """Carry out a batch or transaction; return the response Bundle.

    `keep` is told the ids of blobs as soon as the store refers to them.

    Raises:
        BridgeError: it is no such Bundle, or an entry of a transaction was refused: nothing of that was kept.
    """
    entries = entries_of(bundle, most=by.bridge.settings.max_transaction_entries)
    if bundle["type"] == "batch":
        return transaction_response(batch(by, entries, returns, keep), type_="batch-response")
    outcome = transaction(by, entries, returns)
    keep(outcome.blobs)
    return transaction_response(outcome.done)
