"""What a worker does of the asynchronous requests: searches, operations that change nothing, exports."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import BridgeError, Fenced, StoreUnavailable
from fhir_bridge.fhir.resource.reader import read as read_json
from fhir_bridge.fhir.rest.bundle import Done
from fhir_bridge.fhir.rest.inputs import Inputs
from fhir_bridge.fhir.rest.operations import OPERATIONS
from fhir_bridge.smart.grant import Grant
from fhir_bridge.verbs.asynchronous import failed
from fhir_bridge.verbs.export import export, wish_of
from fhir_bridge.verbs.operate import Call, operate
from fhir_bridge.verbs.search import search

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.store.asynchronous import Request
    from fhir_bridge.verbs.bridge import Bridge

_BY_ID: Final = {one.id: one for one in OPERATIONS}


class Interrupted(Exception):
    """Whoever runs it has to end: it is to be run by another, from the beginning."""


@dataclass(frozen=True)
class Result:
    """What a run came to, as the store keeps it."""

    answer: str
    files: str = "[]"


@dataclass(frozen=True)
class Errand:
    """One request being run: in whose name, and who hears how far it is."""

    bridge: Bridge
    grant: Grant
    asked: Json
    id: str
    tell: Callable[[str], None]

    @property
    def path(self) -> str:
        """What it is about: Type, Type/id, Compartment/id/Type, or empty for the system."""
        return str(self.asked["path"])

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The parameters, in their order."""
        given = self.asked["pairs"]
        assert isinstance(given, list)  # noqa: S101 - written by us
        return tuple((str(pair[0]), str(pair[1])) for pair in given if isinstance(pair, list))

    @property
    def inputs(self) -> Inputs:
        """The parameters of an operation."""
        resource = self.asked.get("resource")
        return Inputs(self.pairs, read_json(resource) if isinstance(resource, str) else None)


def run(bridge: Bridge, request: Request, *, tell: Callable[[str], None]) -> Result:
    """Run a request in the name of whoever made it; a refusal is an answer as well.

    Raises:
        Fenced, StoreUnavailable: somebody else runs it, or nobody can now. Interrupted: `tell` said so.
    """
    asked = json.loads(str(request.asked))
    here = replace(bridge, origin=str(asked["origin"]))
    errand = Errand(here, Grant(**asked["grant"]), asked, request.id, tell)
    try:
        return _DOING[request.kind](errand)
    except (Fenced, StoreUnavailable):
        raise
    except BridgeError as refusal:
        return result_of(failed(refusal))


def result_of(done: Done) -> Result:
    """Return an answer without files."""
    return Result(json.dumps(asdict(done)))


def _search(errand: Errand) -> Result:
    strict = bool(errand.asked["strict"])
    return result_of(Done(200, body=search(errand.bridge, errand.grant, errand.path, errand.pairs, strict=strict)))


def _operation(errand: Errand) -> Result:
    named = _BY_ID[str(errand.asked["operation"])]
    call = Call(errand.bridge, errand.grant, named, errand.path, errand.inputs, errand.id)
    return result_of(Done(200, body=operate(call)))


def _export(errand: Errand) -> Result:
    wish = wish_of(errand.bridge, errand.grant, errand.path, errand.inputs)
    made = export(errand.bridge, errand.grant, wish, tell=errand.tell)
    place = f"{errand.bridge.base}/_async/{errand.id}"
    manifest: Json = {
        "transactionTime": made.at,
        "request": errand.asked["url"],
        "requiresAccessToken": True,
        "output": [
            {"type": file["type"], "url": f"{place}/{n}", "count": file["count"]} for n, file in enumerate(made.files)
        ],
        "error": [],
    }
    return Result(json.dumps({"manifest": manifest}), json.dumps(made.files))


_DOING: Final[Mapping[str, Callable[[Errand], Result]]] = {
    "search": _search,
    "operation": _operation,
    "export": _export,
}
