"""The person answered: the app gets a code, or learns that there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge import clock
from fhir_bridge.api.guard import bridge
from fhir_bridge.api.oauth.door import leaving, told
from fhir_bridge.errors import OAuthError, SentBack
from fhir_bridge.smart.approval import Approval, digest_of, unguessable
from fhir_bridge.smart.authorize import back
from fhir_bridge.smart.consent import agreed, next_step
from fhir_bridge.store import approvals, sign_in
from fhir_bridge.store.versions import now_ms
from fhir_bridge.verbs import audit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask import Response
    from sqlalchemy import Connection

    from fhir_bridge.api.oauth.door import Visit

CODE_MS: Final = 60_000


def allowed(visit: Visit, chosen: Iterable[str]) -> Response:
    """Give the app a code for what the person left of what it asked.

    Raises:
        OAuthError: something has not been asked yet, or all was answered before.
        SentBack: the person left nothing, or what the EHR launched was used.
    """
    if next_step(visit.ask, visit.known) != "consent":
        raise OAuthError("invalid_request", "Something is not chosen yet: go back to the app and start again")
    code = unguessable()
    row = _row(visit, agreed(visit.ask, visit.known, chosen), code)
    noted = told("authorize", visit, person=visit.person)

    def keep(conn: Connection) -> bool:
        if not sign_in.end_ask(conn, digest_of(visit.id)):
            return False
        if visit.ask.launch is not None and not sign_in.use_launch(conn, visit.ask.launch):
            raise _refusal(visit, "invalid_request", "What the EHR launched was used before")
        approvals.add(conn, row)
        audit.record(conn, [noted])
        return True

    if not bridge().store.of(visit.ask.tenant).write(keep):
        raise OAuthError("invalid_request", "This was answered before: go back to the app")
    return leaving(back(visit.ask.redirect_uri, code=code, state=visit.ask.state))


def denied(visit: Visit) -> Response:
    """Tell the app that the person wants none of it."""
    noted = told("authorize", visit, person=visit.person, status=403)

    def end(conn: Connection) -> None:
        sign_in.end_ask(conn, digest_of(visit.id))
        audit.record(conn, [noted])

    bridge().store.of(visit.ask.tenant).write(end)
    raise _refusal(visit, "access_denied", "The person gave no access")


def _refusal(visit: Visit, error: str, text: str) -> SentBack:
    return SentBack(error, text, redirect_uri=visit.ask.redirect_uri, state=visit.ask.state)


def _row(visit: Visit, scope: str, code: str) -> approvals.Approval:
    ask, person = visit.ask, visit.known
    approval = Approval(
        id=clock.new_id(),
        client=ask.client,
        redirect_uri=ask.redirect_uri,
        challenge=ask.challenge,
        scope=scope,
        person=person,
        context=ask.context,
        auth_time=visit.signed_in_ms // 1000,
        nonce=ask.nonce,
    )
    until_ms = now_ms() + CODE_MS
    only_here = "online_access" in approval.words and "offline_access" not in approval.words
    return approvals.Approval(
        id=approval.id,
        tenant=ask.tenant,
        client=ask.client,
        person=person.name,
        session=visit.browser if only_here else None,
        body=approval.text(),
        code=digest_of(code),
        code_until_ms=until_ms,
        until_ms=until_ms,
    )
