"""Operations by their name: what each does is in a module of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.verbs.destroy import erase, parameters
from fhir_bridge.verbs.document import composition_document, encounter_document
from fhir_bridge.verbs.everything import everything
from fhir_bridge.verbs.explain import explain
from fhir_bridge.verbs.rerun import cancel, retry
from fhir_bridge.verbs.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fhir_bridge.fhir.rest.inputs import Inputs
    from fhir_bridge.fhir.rest.operations import Operation
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.verbs.bridge import Bridge


@dataclass(frozen=True)
class Call:
    """One operation asked for: by whom, of what (Type, Type/id, or empty for the system), with what."""

    bridge: Bridge
    grant: Grant
    operation: Operation
    path: str
    inputs: Inputs
    request: str

    @property
    def id(self) -> str:
        """The id of the instance it is asked of."""
        return self.path.partition("/")[2]


def operate(call: Call) -> str:
    """Carry it out, and answer with its one result as FHIR JSON."""
    return _DOING[call.operation.id](call)


_DOING: Final[Mapping[str, Callable[[Call], str]]] = {
    "Encounter-explain": lambda call: write(explain(call.bridge, call.grant, call.inputs.resource or {})),
    "Encounter-everything": lambda call: everything(call.bridge, call.grant, call.path, call.inputs),
    "Patient-everything": lambda call: everything(call.bridge, call.grant, call.path, call.inputs),
    "Encounter-document": lambda call: encounter_document(call.bridge, call.grant, call.id),
    "Composition-document": lambda call: composition_document(call.bridge, call.grant, call.id),
    "Resource-validate": lambda call: write(validate(call.bridge, call.grant, call.path, call.inputs)),
    "Encounter-erase": lambda call: write(parameters(erase(call.bridge, call.grant, call.path, request=call.request))),
    "Patient-erase": lambda call: write(parameters(erase(call.bridge, call.grant, call.path, request=call.request))),
    "Media-retry": lambda call: retry(call.bridge, call.grant, call.id, request=call.request).body,
    "Media-cancel": lambda call: cancel(call.bridge, call.grant, call.id, request=call.request).body,
}
