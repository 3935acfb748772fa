"""The interaction of an Encounter at Corti: made once, and kept as the Encounter is (reliability.md, rule 5).

Corti has no idempotency key: the intent is written first, the POST is sent once, and
when its answer is lost the newest interactions are searched for the identifier that
only this intent has (ruling 4).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock, points
from fhir_bridge.errors import BusinessRule, CortiDuplicate, CortiError, CortiThrottled
from fhir_bridge.mapping.encounter import SUFFIX, corti_identifier, interaction_from_encounter, takes_recordings
from fhir_bridge.store import results
from fhir_bridge.store.jobs import now_ms
from fhir_bridge.store.results import InteractionRow

if TYPE_CHECKING:
    from fhir_bridge.corti.messages import Interaction, InteractionDraft
    from fhir_bridge.errors import Issue
    from fhir_bridge.mapping.mapped import Mapped
    from fhir_bridge.worker.material import Visit
    from fhir_bridge.worker.rooms import Run

GENERATIONS: Final = 3  # identifiers tried when Corti has one reserved
_HEX_BYTES: Final = 4
_FURTHER: Final = 5_000  # interactions searched for an identifier that Corti says it has


def known(run: Run) -> InteractionRow | None:
    """What is known of the interaction of the run's Encounter."""
    return run.read(lambda conn: results.interaction_of(conn, run.job.tenant, run.job.encounter))


def ensure(run: Run, visit: Visit) -> InteractionRow:
    """Return the interaction, made or adopted if need be, and as the Encounter is now.

    Raises:
        BusinessRule: the Encounter was cancelled or entered in error before there was one (ruling 1).
        CortiError: what Corti says against it.
    """
    row = known(run) or _intended(run, visit)
    if row.corti_id is None:
        row = _created(run, visit, row)
    if row.synced_vid < visit.vid:
        points.reached("interaction.patching")
        run.account.client.patch_interaction(str(row.corti_id), _draft(visit, row))
        points.reached("interaction.patched")
        run.circuit.worked()
        row = _kept(run, replace(row, synced_vid=visit.vid))
    return row


def warnings(visit: Visit, row: InteractionRow) -> tuple[Issue, ...]:
    """Return what of the Encounter Corti was not told, or told otherwise."""
    return _mapped(visit, row).warnings


def wanted(visit: Visit) -> bool:
    """Whether the Encounter is one that gets an interaction (ruling 1)."""
    return takes_recordings(visit.encounter)


def _intended(run: Run, visit: Visit) -> InteractionRow:
    if not wanted(visit):
        raise BusinessRule(
            "The Encounter was cancelled or entered in error before its recording reached Corti", at="Encounter.status"
        )
    row = InteractionRow(run.job.tenant, run.job.encounter, _identifier(visit), intended_ms=now_ms())
    kept = _kept(run, row)
    points.reached("interaction.intended")
    return kept


def _identifier(visit: Visit) -> str:
    return f"{corti_identifier(visit.encounter)}{SUFFIX}{clock.token_bytes(_HEX_BYTES).hex()}"


def _created(run: Run, visit: Visit, row: InteractionRow) -> InteractionRow:
    for _ in range(GENERATIONS):
        found = _lost(run, row) or _posted(run, visit, row)
        run.circuit.worked()
        if found is not None:
            # An adopted one may have been made from an earlier Encounter: it is patched afterwards.
            points.reached("interaction.made")
            vid = 0 if row.sent else visit.vid
            made = replace(row, sent=True, corti_id=found.id, websocket_url=found.websocket_url, synced_vid=vid)
            return _kept(run, made)
        row = _kept(run, replace(row, identifier=_identifier(visit), sent=False))
    raise CortiDuplicate("Corti has every identifier of this Encounter reserved: give it another Encounter.identifier")


def _lost(run: Run, row: InteractionRow) -> Interaction | None:
    """Look for what an earlier POST may have made, before another one is sent."""
    if not row.sent:
        return None
    points.reached("interaction.adopting")
    return run.account.client.find_interaction(row.identifier)


def _posted(run: Run, visit: Visit, row: InteractionRow) -> Interaction | None:
    """Send the POST, once; None when its identifier is reserved by something that cannot be found."""
    client, draft = run.account.client, _draft(visit, row)
    _kept(run, replace(row, sent=True))
    points.reached("interaction.posting")
    try:
        return client.create_interaction(draft)
    except CortiDuplicate:
        return client.find_interaction(row.identifier, among=_FURTHER)
    except CortiError as error:
        if isinstance(error, CortiThrottled) or not error.retry:
            _kept(run, replace(row, sent=False))  # refused: nothing was made
        raise


def _draft(visit: Visit, row: InteractionRow) -> InteractionDraft:
    return _mapped(visit, row).value


def _mapped(visit: Visit, row: InteractionRow) -> Mapped[InteractionDraft]:
    return interaction_from_encounter(
        visit.encounter, visit.patient, visit.responsible, identifier=row.identifier, tenant=row.tenant
    )


def _kept(run: Run, row: InteractionRow) -> InteractionRow:
    run.write(also=lambda conn: results.put_interaction(conn, row))
    return row
