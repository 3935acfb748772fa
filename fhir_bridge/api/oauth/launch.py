"""POST /oauth/launch: an EHR tells what it has open as it opens an app (SMART 2.2, "EHR launch"; ruling 28)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response, request

from fhir_bridge.api import respond
from fhir_bridge.api.guard import bridge, grant
from fhir_bridge.errors import OAuthError
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.smart.approval import Context, digest_of, unguessable
from fhir_bridge.smart.authorize import Launched
from fhir_bridge.store import sign_in
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from fhir_bridge.smart.grant import Grant

routes = Blueprint("launch", __name__)

LARGEST: Final = 16 * 1024
_ID: Final = r"[A-Za-z0-9\-.]{1,64}"
_PERSON: Final = re.compile(rf"(?:[A-Z][A-Za-z]{{1,63}}/{_ID}|[^\s/]{{1,128}})")
_REFERENCE: Final = re.compile(rf"([A-Z][A-Za-z]{{1,63}})/{_ID}")
_MEMBERS: Final = frozenset(("patient", "encounter", "user", "intent", "need_patient_banner", "fhirContext"))
_LONGEST_INTENT: Final = 256
_MOST: Final = 20


@routes.post("/oauth/launch")
def launch() -> Response:
    """Give an EHR what it hands to the app as the parameter `launch`."""
    who = _ehr()
    sent, id_ = _context(_body()), unguessable()
    row = sign_in.Launch(digest_of(id_), who.tenant, who.client, sent.text(), now_ms() + sign_in.LAUNCH_MS)
    bridge().store.write(lambda conn: sign_in.add_launch(conn, row))
    return respond.plain({"launch": id_}, status=201, headers={"Cache-Control": "no-store"})


def find(id_: str) -> Launched | None:
    """Return what an EHR launched, until it was used or is too old."""
    found = bridge().store.of_all().read(lambda conn: sign_in.launch(conn, digest_of(id_)))
    return Launched(found.tenant, Context.read(found.body)) if found else None


def _ehr() -> Grant:
    found = grant()
    if found.user is not None or "launch" not in found.scope.split():
        raise OAuthError("insufficient_scope", "This is for an EHR's own token with the scope launch", status=403)
    return found


def _body() -> dict[str, Any]:
    request.max_content_length = LARGEST
    body = read(request.get_data())
    if not body.keys() <= _MEMBERS:
        raise _refusal(f"Send a JSON object; it may have {', '.join(sorted(_MEMBERS))}")
    return {name: value for name, value in body.items() if value is not None}


def _context(sent: dict[str, Any]) -> Context:
    intent, banner = sent.get("intent"), sent.get("need_patient_banner", True)
    if intent is not None and not (isinstance(intent, str) and 0 < len(intent) <= _LONGEST_INTENT):
        raise _refusal("intent is a short text")
    if not isinstance(banner, bool):
        raise _refusal("need_patient_banner is true or false")
    user = sent.get("user")
    if user is not None and not (isinstance(user, str) and _PERSON.fullmatch(user)):
        raise _refusal("user is a reference such as Practitioner/1, or the name of a local user")
    return Context(
        patient=_id_of(sent, "Patient"),
        encounter=_id_of(sent, "Encounter"),
        user=user,
        intent=intent,
        need_patient_banner=banner,
        fhir_context=_others(sent.get("fhirContext", [])),
    )


def _id_of(sent: dict[str, Any], type_: str) -> str | None:
    value = sent.get(type_.lower())
    if value is None:
        return None
    id_ = value.removeprefix(f"{type_}/") if isinstance(value, str) else ""
    if not re.fullmatch(_ID, id_):
        raise _refusal(f"{type_.lower()} is the id of a resource of type {type_}")
    return id_


def _others(sent: object) -> tuple[dict[str, object], ...]:
    """Check what else is open; a Patient or Encounter is context of its own unless it has a role (SMART 2.2)."""
    if not isinstance(sent, list) or len(sent) > _MOST or not all(map(_is_reference, sent)):
        raise _refusal("fhirContext is a list of objects with a reference, and a role where it is one of Patient")
    return tuple(sent)


def _is_reference(each: object) -> bool:
    if not isinstance(each, dict) or not each.keys() <= {"reference", "role", "type", "canonical", "identifier"}:
        return False
    named = _REFERENCE.fullmatch(each["reference"]) if isinstance(each.get("reference"), str) else None
    return named is not None and (named[1] not in {"Patient", "Encounter"} or isinstance(each.get("role"), str))


def _refusal(text: str) -> OAuthError:
    return OAuthError("invalid_request", text)
