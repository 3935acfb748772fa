"""Authorization by a person (SMART App Launch 2.2, "Obtain authorization code"): signing in, choosing, agreeing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request, send_from_directory

from fhir_bridge.api.guard import bridge, tokens
from fhir_bridge.api.oauth import away, choosing, door, launch, local, pages
from fhir_bridge.api.oauth.answered import allowed, denied
from fhir_bridge.api.oauth.token import LARGEST_FORM
from fhir_bridge.errors import BridgeError, SentBack
from fhir_bridge.smart.approval import Person
from fhir_bridge.smart.authorize import House, asked

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

routes = Blueprint("authorize", __name__, template_folder="templates")
routes.register_error_handler(SentBack, door.sent_back)
routes.register_error_handler(BridgeError, pages.refused)
routes.after_request(door.bake)


@routes.before_request
def limit() -> None:
    """Read no more of a form than a form of these pages can be."""
    request.max_content_length = LARGEST_FORM


@routes.get("/oauth/authorize")
def authorize() -> Response:
    """Where an app sends a person."""
    return _arrived(request.args)


@routes.post("/oauth/authorize")
def authorize_by_post() -> Response:
    """The same by a form: what was asked stays out of URLs (SMART capability `authorize-post`)."""
    return _arrived(request.form)


@routes.get("/oauth/sign-in")
def sign_in_page() -> Response:
    """Ask who it is, unless that is known."""
    visit = door.at_the_door()
    if visit.person is None and "none" not in visit.ask.prompt:
        return pages.sign_in(visit)
    return door.onward(visit)


@routes.post("/oauth/sign-in")
def sign_in() -> Response:
    """Let somebody in who has a name and a password here."""
    visit = door.inside()
    found = local.judged(visit, request.form.get("name", ""), request.form.get("password", ""))
    return door.signed_in(visit, found) if isinstance(found, Person) else pages.sign_in(visit, found)


@routes.get("/oauth/sign-in/away")
def sign_in_away() -> Response:
    """Send somebody to the OpenID provider where the people of the tenant sign in."""
    return away.leave(door.inside())


@routes.get("/oauth/sign-in/back")
def sign_in_back() -> Response:
    """Let somebody in who comes back from there."""
    visit = away.returned(request.args.get("state", ""))
    found = away.judged(visit, request.full_path)
    return door.signed_in(visit, found) if isinstance(found, Person) else pages.sign_in(visit, found)


@routes.post("/oauth/sign-out")
def sign_out() -> Response:
    """Let somebody else sign in."""
    return door.signed_out(door.inside())


@routes.get("/oauth/patient")
def patient_page() -> Response:
    """Ask which patient it is about."""
    visit = door.inside()
    return pages.patient(visit, found=choosing.patients(visit))


@routes.post("/oauth/patient")
def patient() -> Response:
    """Take the patient that was chosen, or look for others."""
    visit = door.inside()
    if "search" in request.form:
        name = request.form.get("name", "").strip()
        return pages.patient(visit, name=name, found=choosing.patients(visit, name))
    found = choosing.patient(visit, request.form.get("patient", ""))
    if found is None:
        return pages.patient(visit, found=choosing.patients(visit), refusal="Choose one of the patients.")
    return door.chosen(visit, patient=found.id)


@routes.get("/oauth/encounter")
def encounter_page() -> Response:
    """Ask which encounter it is about."""
    visit = door.inside()
    return pages.encounter(visit, found=choosing.encounters(visit))


@routes.post("/oauth/encounter")
def encounter() -> Response:
    """Take the encounter that was chosen, with its patient."""
    visit = door.inside()
    found = choosing.encounter(visit, request.form.get("encounter", ""))
    if found is None:
        return pages.encounter(visit, found=choosing.encounters(visit), refusal="Choose one of the encounters.")
    return door.chosen(visit, encounter=found.id, patient=visit.ask.context.patient or found.patient)


@routes.get("/oauth/consent")
def consent_page() -> Response:
    """Ask what the app may do."""
    return pages.consent(door.inside())


@routes.post("/oauth/consent")
def consent() -> Response:
    """Take the answer back to the app."""
    visit = door.inside()
    if request.form.get("answer") != "allow":
        return denied(visit)
    return allowed(visit, request.form.getlist("scope"))


@routes.get("/oauth/sign-in.css")
def style() -> Response:
    """How the pages look."""
    return send_from_directory(pages.STATIC, "sign-in.css")


def _arrived(given: MultiDict[str, str]) -> Response:
    house = House(tokens().find_client, launch.find, bridge().base)
    return door.arrive(asked(dict(given.lists()), house))
