"""Signing in at the OpenID provider of the tenant: there and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.api.guard import tokens
from fhir_bridge.api.oauth import door
from fhir_bridge.api.oauth.local import Refusal, tell
from fhir_bridge.errors import IssuerUnavailable, OAuthError
from fhir_bridge.smart.approval import unguessable
from fhir_bridge.smart.compact import Refused

if TYPE_CHECKING:
    from flask import Response

    from fhir_bridge.api.oauth.door import Visit
    from fhir_bridge.smart.approval import Person
    from fhir_bridge.smart.provider import Provider

_ANEW: Final = frozenset(("login", "select_account"))


def leave(visit: Visit) -> Response:
    """Send somebody to the provider."""
    secret = unguessable()
    wanted = next((word for word in visit.ask.prompt if word in _ANEW), None)
    prompt = wanted or ("login" if visit.ask.not_before else None)
    url = _provider(visit).url(secret, visit.id, prompt=prompt)
    door.away(visit, secret)
    return door.leaving(url)


def returned(state: str) -> Visit:
    """Return the visit that `state` names.

    Raises:
        OAuthError: there is none of this browser.
    """
    return door.returned(state.partition(".")[0])


def judged(visit: Visit, answer: str) -> Person | Refusal:
    """Find who comes back; each leaving has one return."""
    secret = visit.ask.away
    door.away(visit, None)
    if secret is None:
        return Refusal("This sign-in was used already. Sign in again.", 403)
    try:
        return _provider(visit).person(secret, visit.id, answer)
    except Refused as exc:
        tell(visit, 403)
        return Refusal(f"You could not be signed in: {exc.text}.", 403)
    except IssuerUnavailable as exc:
        tell(visit, 503)
        return Refusal("Your organisation does not answer just now. Try again.", 503, exc.retry_after)


def _provider(visit: Visit) -> Provider:
    found = tokens().providers.get(visit.ask.tenant)
    if found is None:
        raise OAuthError("invalid_request", "The people of this organisation sign in here", status=404)
    return found
