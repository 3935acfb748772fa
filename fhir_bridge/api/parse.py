"""What views read from a request: its body, its conditions, who writes; and how a write is answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from flask import Response, g, request

from fhir_bridge.api import respond
from fhir_bridge.api.discovery import capabilities
from fhir_bridge.api.guard import bridge
from fhir_bridge.api.negotiate import (
    FHIR_JSON,
    JSON_PATCH,
    answered_with,
    is_fhir_body,
    require_fhir_body,
    require_plain_encoding,
)
from fhir_bridge.errors import (
    BadParameter,
    Invalid,
    Issue,
    Malformed,
    MethodNotAllowed,
    NoSuchRoute,
    UnsupportedMediaType,
)
from fhir_bridge.fhir.resource.fhir_patch import fhir_patched
from fhir_bridge.fhir.resource.json_patch import json_patched
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.rest.served import BY_TYPE, offers
from fhir_bridge.verbs import admission, foreign
from fhir_bridge.verbs.conditional import pairs_of
from fhir_bridge.verbs.write import NOTHING, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.fhir.rest.served import Interaction
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.verbs.conditional import Pairs
    from fhir_bridge.verbs.intake import Intake
    from fhir_bridge.verbs.write import Written

CHUNK: Final = 64 * 1024
_FIRST_MEMBER: Final = re.compile(rb'\s*\{\s*"resourceType"\s*:\s*"([A-Za-z]+)"')
# The methods that a path of a type, and one of an instance, may have.
_METHODS: Final[tuple[dict[Interaction, str], ...]] = (
    {"search-type": "GET", "create": "POST"},
    {"read": "GET", "update": "PUT", "patch": "PATCH", "delete": "DELETE"},
    {"vread": "GET"},
    {"history-instance": "GET"},
    {"history-type": "GET"},
)
_BY_CRITERIA: Final[dict[Interaction, str]] = {"update": "PUT", "patch": "PATCH", "delete": "DELETE"}
_RENDERING: Final = frozenset({"_format", "_pretty"})
_RECORDINGS: Final = frozenset({"Media", "Binary"})
_LONGEST_VID: Final = 10
_NO_VID: Final = -1


def writer(who: Grant, intake: Intake) -> Writer:
    """Return who writes in this request."""
    return Writer(bridge(), who, intake.blobs, g.request_id, provenance(), capabilities)


def stored(intake: Intake, written: Written) -> Response:
    """Keep the audio of what was written, and answer with it."""
    if written.keeps_audio:
        intake.keep()
    return respond.row(written.row, base=bridge().base, status=201 if written.is_new else 200, hints=written.hints)


def provenance() -> Json | None:
    """Return the Provenance in the header, which says where that comes from which is written.

    http://hl7.org/fhir/R4/provenance.html#header
    """
    sent = request.headers.get("X-Provenance")
    if sent is None:
        return None
    json = read(sent.encode("latin-1"))  # as WSGI hands on the bytes of a header
    if json.get("resourceType") != "Provenance":
        raise Malformed("X-Provenance has to be a Provenance", at="resourceType")
    if "target" in json:
        text = "The Provenance of a header has no target: it is what the request writes"
        raise Invalid(text, issues=(Issue("invalid", text, "Provenance.target"),))
    return json


def criteria() -> Pairs:
    """Return the criteria in the URL of a conditional interaction."""
    return tuple((name, value) for name, value in request.args.items(multi=True) if name not in _RENDERING)


def unless() -> Pairs:
    """Return the condition of a create: If-None-Exist, or fhirpy's form, criteria in the URL.

    A header without criteria is none that is met by nothing: it is refused. Of what is not searched the URL
    has none: Medplum's client puts a file's name there.
    """
    type_ = request.path.rstrip("/").rpartition("/")[2]
    header = request.headers.get("If-None-Exist")
    given = () if header is None else pairs_of(header, of=type_)
    if header is not None and not given:
        raise BadParameter("If-None-Exist has no criteria, such as identifier=system|value")
    return (*given, *(criteria() if offers(type_, "search-type") else ()))


def expected_version() -> int | None:
    """Return the version that If-Match names (http.html#concurrency); 0: none may be there (If-None-Match: *)."""
    tag = request.headers.get("If-Match")
    if tag is None:
        is_first = request.method == "PUT" and request.headers.get("If-None-Match", "").strip() == "*"
        return NOTHING if is_first else None
    version = tag.strip().removeprefix("W/").strip('"')
    if not version.isascii() or not version.isdigit():
        raise BadParameter('If-Match names a version, such as W/"3"')
    # Longer than any there is, or below the first: it will not be met.
    return int(version[:_LONGEST_VID]) or _NO_VID


def begins_as() -> str | None:
    """Return the type of the resource in the request's body, where the body begins with it; nothing of it is lost."""
    g.begun = request.stream.read(CHUNK)
    found = _FIRST_MEMBER.match(g.begun)
    return found[1].decode() if found else None


def stream() -> Iterator[bytes]:
    """Yield the request's body as it arrives."""
    if begun := g.pop("begun", b""):
        yield begun
    while chunk := request.stream.read(CHUNK):
        yield chunk


def change(intake: Intake) -> Callable[[Json], Json]:
    """Read the patch in the request's body, of the two forms that are served."""
    if request.mimetype == JSON_PATCH:
        require_plain_encoding()
        text = intake.small(stream(), limit=bridge().settings.max_json_bytes)
        return lambda json: json_patched(json, text)
    if not is_fhir_body():
        raise UnsupportedMediaType(f"Send the patch as {JSON_PATCH}, or as Parameters in {FHIR_JSON}")
    parameters = body(intake, "Parameters", limit=bridge().settings.max_json_bytes)
    return lambda json: fhir_patched(json, parameters)


def body(intake: Intake, type_: str, *, limit: int, who: Grant | None = None) -> Json:
    """Read the resource of type `type_` in the request's body, and fetch the recordings that `who` names elsewhere."""
    require_fhir_body()
    json = intake.json(stream(), limit=limit, of=type_)
    if who is not None:
        foreign.fetch(bridge(), who, intake, json)
    return json


def require(type_: str, interaction: Interaction) -> None:
    """Refuse what served.py does not list, and, before anything is done, whom no answer would please.

    Raises:
        NoSuchRoute: the type. MethodNotAllowed: the interaction. NotAcceptable: see there.
    """
    if type_ == "metadata":
        raise MethodNotAllowed("The CapabilityStatement is only read", allow=("GET", "HEAD"))
    if type_ not in BY_TYPE:
        raise NoSuchRoute("This resource type is not served here: see /fhir/metadata")
    if not offers(type_, interaction):
        raise MethodNotAllowed(
            f"{type_} has no {interaction} here: see /fhir/metadata", allow=_allowed(type_, interaction)
        )
    answered_with()


def require_room(who: Grant, type_: str) -> None:
    """Read no new recording while too many wait, or when the day's audio is used up.

    Raises:
        Throttled, Overloaded: see there.
    """
    if type_ in _RECORDINGS:
        admission.require_room(bridge(), who.tenant)


def _allowed(type_: str, interaction: Interaction) -> tuple[str, ...]:
    """List the methods of the path that was asked; by criteria, a type that is searched is written too."""
    beside = next(level for level in _METHODS if interaction in level)
    if interaction in _METHODS[1] and "id_" not in (request.view_args or {}):
        beside = _METHODS[0] | (_BY_CRITERIA if offers(type_, "search-type") else {})
    return tuple(method for each, method in beside.items() if offers(type_, each))
