"""What an operation's request asks: which operation, of what, with which parameters."""

from __future__ import annotations

from flask import request

from fhir_bridge.api import parse
from fhir_bridge.api.guard import bridge
from fhir_bridge.api.negotiate import require_fhir_body
from fhir_bridge.errors import MethodNotAllowed, NoSuchRoute, TooLarge
from fhir_bridge.fhir.resource.reader import Json, read
from fhir_bridge.fhir.rest.inputs import Inputs, inputs_of
from fhir_bridge.fhir.rest.operations import Level, Operation
from fhir_bridge.fhir.rest.operations import operation as operation_of
from fhir_bridge.fhir.rest.served import BY_TYPE


def operation(name: str, type_: str | None, id_: str | None) -> Operation:
    """Return the operation that a path names.

    Raises:
        NoSuchRoute: none, or none for this type or level. MethodNotAllowed: not by this method.
    """
    level: Level = "instance" if id_ else "type" if type_ else "system"
    found = operation_of(name, level, type_) if type_ is None or type_ in BY_TYPE else None
    if found is None:
        raise NoSuchRoute("There is no such operation here: see /fhir/metadata")
    if request.method.replace("HEAD", "GET") not in found.methods:
        raise MethodNotAllowed(f"${found.name} is called by {' or '.join(found.methods)}", allow=found.methods)
    return found


def inputs(found: Operation) -> Inputs:
    """Return what the request gives to an operation, in its URL and in its body."""
    return inputs_of(found, request.args.items(multi=True), _body() if request.method == "POST" else None)


def _body() -> Json | None:
    """Read a body that may be left out, when there is nothing to give."""
    limit = bridge().settings.max_json_bytes
    raw = bytearray()
    for chunk in parse.stream():
        raw += chunk
        if len(raw) > limit:
            raise TooLarge(f"The body is larger than {limit} bytes")
    if not raw.strip():
        return None
    require_fhir_body()
    return read(bytes(raw))
