"""Writing an Encounter: it is stored as sent, and a job tells Corti of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.errors import BusinessRule
from fhir_bridge.fhir.resource.models import Encounter, model_of
from fhir_bridge.mapping.encounter import corti_identifier, interaction_from_encounter, takes_recordings
from fhir_bridge.mapping.origin import subject_of
from fhir_bridge.store import jobs
from fhir_bridge.store.states import State
from fhir_bridge.store.versions import Once
from fhir_bridge.verbs.case import digest_of
from fhir_bridge.verbs.plan import OnceKey, Plan, merged
from fhir_bridge.verbs.retract import ERROR, encounter_in_error
from fhir_bridge.verbs.tasks import new_job
from fhir_bridge.verbs.under_way import again

if TYPE_CHECKING:
    from fhir_bridge.corti.messages import InteractionDraft
    from fhir_bridge.errors import Issue
    from fhir_bridge.mapping.mapped import Mapped
    from fhir_bridge.store.jobs import Job
    from fhir_bridge.verbs.case import Case

IDENTIFIER = "Encounter.identifier"


def plan(case: Case) -> Plan:
    """Plan one Encounter (rulings 1 to 5).

    Raises:
        NotMapped: Corti has no word for an element.
        BusinessRule: it was erased.
    """
    model = encounter_of(case)
    version = case.version()
    known = _job(case)
    if known is not None and known.state is State.ERASED:
        raise BusinessRule(
            "The Encounter was erased on request: it does not come back under this id", at="Encounter.id"
        )
    if known is not None:
        told = [Plan((version,), once=_once(case), released=_released(case)), again(case.bridge, known)]
        if case.json["status"] == ERROR:
            told.append(encounter_in_error(case.bridge, case.grant, case.id))
        return merged(told)
    if not takes_recordings(model):
        return Plan((version,), once=_once(case), released=_released(case))
    task, job = new_job(case, encounter=case.id, subject=subject_of(model))
    return Plan((version, task), once=_once(case), released=_released(case), jobs=(job,))


def hints(case: Case) -> tuple[Issue, ...]:
    """Return what of an Encounter Corti will not hear of: warnings, never refusals."""
    model = encounter_of(case)
    return _mapped(case, model).warnings


def encounter_of(case: Case) -> Encounter:
    """Return the typed Encounter, after asking that Corti has words for it."""
    model = model_of(case.json)
    assert isinstance(model, Encounter)  # noqa: S101 - the case is an Encounter's
    _mapped(case, model)
    return model


def _mapped(case: Case, model: Encounter) -> Mapped[InteractionDraft]:
    return interaction_from_encounter(model, identifier=corti_identifier(model), tenant=case.grant.tenant)


def _job(case: Case) -> Job | None:
    """Return the job of the interaction, which an Encounter keeps also beyond its deletion."""
    tenant = case.grant.tenant
    found = case.bridge.store.read(lambda conn: jobs.of_encounter(conn, tenant, case.id))
    return next((job for job in found if job.kind == "interaction"), None)


def _once(case: Case) -> tuple[OnceKey, ...]:
    """Return the identifiers that no other Encounter of the tenant may have (ruling 3)."""
    identifiers = case.json.get("identifier")
    if not case.bridge.settings.unique_identifiers or not isinstance(identifiers, list):
        return ()
    mine = Once(digest_of(case.json), case.type, case.id)
    pairs = [
        (each.get("system", ""), each["value"]) for each in identifiers if isinstance(each, dict) and "value" in each
    ]
    return tuple(OnceKey(IDENTIFIER, f"{system}|{value}", mine) for system, value in dict.fromkeys(map(_text, pairs)))


def _text(pair: tuple[object, object]) -> tuple[str, str]:
    return str(pair[0]), str(pair[1])


def _released(case: Case) -> tuple[tuple[str, str], ...]:
    return () if case.current is None else ((case.type, case.id),)
