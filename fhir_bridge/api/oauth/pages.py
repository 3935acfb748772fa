"""The pages at the door: small, without scripts, for keyboards and screen readers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flask import Response, render_template

from fhir_bridge.api.guard import bridge, tokens
from fhir_bridge.api.oauth import choosing
from fhir_bridge.origins import origin_of
from fhir_bridge.smart.consent import choices

if TYPE_CHECKING:
    from fhir_bridge.api.oauth.choosing import Choice
    from fhir_bridge.api.oauth.door import Visit
    from fhir_bridge.api.oauth.local import Refusal
    from fhir_bridge.errors import BridgeError

STATIC: Final = Path(__file__).parent / "static"
# Browsers judge by form-action also where an answer to a form sends them: to the app.
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; form-action 'self'{app}; frame-ancestors 'none'; base-uri 'none'"
)


def sign_in(visit: Visit, refusal: Refusal | None = None) -> Response:
    """Ask who it is, or send to whoever is to ask that."""
    provider = tokens().providers.get(visit.ask.tenant)
    template = "sign_in_at.html" if provider else "sign_in.html"
    named = {"provider": provider.name} if provider else {}
    answer = _page(template, visit, refusal=refusal.text if refusal else None, **named)
    if refusal:
        answer.status_code = refusal.status
    if refusal and refusal.retry_after:
        answer.headers["Retry-After"] = str(refusal.retry_after)
    return answer


def patient(visit: Visit, *, name: str = "", found: tuple[Choice, ...], refusal: str | None = None) -> Response:
    """Ask which patient it is about."""
    more = len(found) == choosing.MOST
    return _page("patient.html", visit, name=name, found=found, more=more, refusal=refusal)


def encounter(visit: Visit, *, found: tuple[Choice, ...], refusal: str | None = None) -> Response:
    """Ask which encounter it is about."""
    return _page("encounter.html", visit, found=found, refusal=refusal)


def consent(visit: Visit) -> Response:
    """Ask what the app may do."""
    context, person = visit.ask.context, visit.known
    shown = choosing.patient(visit, context.patient) if context.patient else None
    return _page(
        "consent.html",
        visit,
        choices=choices(visit.ask, person),
        patient=shown.label if shown else context.patient and f"Patient/{context.patient}",
        encounter=context.encounter,
    )


def refused(failure: BridgeError) -> Response:
    """Say what went wrong to the person, for there is no app that could be told."""
    answer = _answer(render_template("refused.html", root=_root(), text=failure.text), "")
    answer.status_code = failure.status
    if failure.retry_after is not None:
        answer.headers["Retry-After"] = str(failure.retry_after)
    return answer


def _page(template: str, visit: Visit, /, **shown: object) -> Response:
    uri = visit.ask.redirect_uri
    app = origin_of(uri) or f"{urlsplit(uri).scheme}:"
    who = (visit.person.shown or visit.person.name) if visit.person else None
    text = render_template(
        template, root=_root(), ask=visit.id, app=visit.client.name or visit.client.id, who=who, **shown
    )
    return _answer(text, f" {app}")


def _answer(text: str, app: str) -> Response:
    headers = {
        "Content-Security-Policy": _POLICY.format(app=app),
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
        "Cache-Control": "no-store",
    }
    return Response(text, headers=headers, content_type="text/html; charset=utf-8")


def _root() -> str:
    return urlsplit(bridge().origin).path
