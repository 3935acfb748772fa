"""What a token is good for (RFC 7662), and taking it back (RFC 7009)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError, OAuth2Error

from fhir_bridge.errors import Unauthenticated
from fhir_bridge.smart.approval import digest_of
from fhir_bridge.smart.codes import METHODS, PROOFS
from fhir_bridge.smart.flows import Answer, Request, Server, challenged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.smart.approval import Ticket
    from fhir_bridge.smart.client import Client
    from fhir_bridge.smart.flows import Desk
    from fhir_bridge.smart.grant import Grant

_HEADERS: Final = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))


def introspected(desk: Desk, form: Mapping[str, str], headers: Mapping[str, str], bearer: Grant | None) -> Answer:
    """Tell a client, or the bearer of an access token, about a token of its tenant."""
    server, request = Server(desk), Request(form, headers)
    try:
        tenant, client = _asking(server, request, bearer)
        return Answer(200, _about(desk, _token_of(request), tenant=tenant, client=client), _HEADERS)
    except OAuth2Error as exc:
        return challenged(server.handle_error_response(request, exc))


def revoked(desk: Desk, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
    """Take back a token of the client that asks; one that nobody knows is as good as taken back."""
    server, request = Server(desk), Request(form, headers)
    try:
        client = server.authenticate_client(request, METHODS)
        _take_back(desk, _token_of(request), client)
    except OAuth2Error as exc:
        return challenged(server.handle_error_response(request, exc))
    return Answer(200, {}, _HEADERS)


def _asking(server: Server, request: Request, bearer: Grant | None) -> tuple[str, str | None]:
    """Return for which tenant, and as which client of ours, somebody asks."""
    if bearer is not None:
        return bearer.tenant, None if bearer.issuer else bearer.client
    client = server.authenticate_client(request, PROOFS)
    return client.tenant, client.id


def _token_of(request: Request) -> str:
    token = request.form.get("token")
    if token is None:
        raise InvalidRequestError(description="token is missing")
    return token


def _about(desk: Desk, text: str, *, tenant: str, client: str | None) -> dict[str, object]:
    """Say everything about a token that is good, and nothing about any other."""
    grant = _grant(desk, text)
    if grant is None:
        ticket = _refresh(desk, text)
        good = ticket is not None and ticket.good and ticket.approval.client == client
        return _told_of_refresh(desk, ticket) if ticket is not None and good else {"active": False}
    owner = desk.find_client(grant.client)
    good = owner is not None and owner.tenant == grant.tenant == tenant
    lost = desk.approvals.is_revoked(grant.jti, grant.approval)
    return _told(desk, grant) if good and not lost else {"active": False}


def _told(desk: Desk, grant: Grant) -> dict[str, object]:
    approval = desk.approvals.by_id(grant.approval) if grant.approval else None
    told: dict[str, object] = {
        "active": True,
        "token_type": "Bearer",
        "scope": grant.scope,
        "client_id": grant.client,
        "exp": grant.exp,
        "iss": desk.place.issuer,
        "aud": desk.place.audience,
        "sub": grant.subject,
        "jti": grant.jti,
    }
    if grant.user and "/" in grant.user and "fhirUser" in grant.scope.split():
        told["fhirUser"] = f"{desk.place.audience}/{grant.user}"
    return told | (approval.context.members() if approval else {})


def _told_of_refresh(desk: Desk, ticket: Ticket) -> dict[str, object]:
    approval = ticket.approval
    return {
        "active": True,
        "scope": approval.scope,
        "client_id": approval.client,
        "exp": ticket.exp,
        "iss": desk.place.issuer,
        "sub": approval.person.name,
        **approval.context.members(),
    }


def _take_back(desk: Desk, text: str, client: Client) -> None:
    grant, ticket = _grant(desk, text), _refresh(desk, text)
    owner = grant.client if grant else ticket.approval.client if ticket else client.id
    if owner != client.id:
        raise InvalidGrantError(description="The token was given to another client")
    if grant is not None and grant.jti is not None:
        desk.approvals.revoke_token(grant.jti, grant.exp)
    if ticket is not None:
        desk.approvals.revoke(ticket.approval.id)


def _grant(desk: Desk, text: str) -> Grant | None:
    try:
        return desk.verifier.grant(text)
    except Unauthenticated:
        return None


def _refresh(desk: Desk, text: str) -> Ticket | None:
    return desk.approvals.by_refresh(digest_of(text))
