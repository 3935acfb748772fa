"""Codes and refresh tokens at the token endpoint: Authlib's grants, with the rules that it leaves open.

PKCE with S256 for every client, codes and refresh tokens that are good once and whose second use
takes back all that came of them, refresh tokens that rotate (fhir-smart-rules 4.3 and 4.7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError, InvalidScopeError, UnauthorizedClientError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from joserfc import jwt

from fhir_bridge import clock
from fhir_bridge.smart import token
from fhir_bridge.smart.approval import digest_of, unguessable
from fhir_bridge.smart.client import NO_PROOF, PRIVATE_KEY_JWT, SECRET_METHODS
from fhir_bridge.smart.grant import Grant
from fhir_bridge.smart.scope import within

if TYPE_CHECKING:
    from fhir_bridge.smart.approval import Approval, Approvals, Ticket
    from fhir_bridge.smart.client import Client
    from fhir_bridge.smart.flows import Desk

PROOFS: Final = (PRIVATE_KEY_JWT, *SECRET_METHODS)
METHODS: Final = (*PROOFS, NO_PROOF)
IDENTITY_ALGORITHM: Final = "RS256"  # of id_tokens (SMART App Launch 2.2)
_LASTING: Final = frozenset(("offline_access", "online_access"))
_NOT_GOOD: Final = "The code or refresh token is not good, or not any more: ask the person again"


class S256(CodeChallenge):  # type: ignore[misc]  # Authlib ships no types
    """The proof that who brings the code is who asked for it; the verifier is never optional."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012 - Authlib's own form

    def get_authorization_code_challenge(self, authorization_code: Ticket) -> str:
        """Return the challenge, without which no code is ever given."""
        return authorization_code.approval.challenge

    def get_authorization_code_challenge_method(self, authorization_code: Ticket) -> str:  # noqa: ARG002 - Authlib's signature
        """Return the one method there is."""
        return "S256"


class Code(AuthorizationCodeGrant):  # type: ignore[misc]  # Authlib ships no types
    """A code becomes tokens, once."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def query_authorization_code(self, code: str, client: Client) -> Ticket | None:
        """Find a code of this client that is good."""
        approvals = self.server.desk.approvals
        return _good(approvals, approvals.by_code(digest_of(code)), client)

    def authenticate_user(self, authorization_code: Ticket) -> Ticket:
        """The person said yes; tokens are made of what they said it to."""
        return authorization_code

    def delete_authorization_code(self, authorization_code: Ticket) -> None:
        """It was used up as the tokens were made."""


class Refresh(RefreshTokenGrant):  # type: ignore[misc]  # Authlib ships no types
    """A refresh token becomes the next one, and a new access token."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def validate_token_request(self) -> None:
        """Check client, token and scope; Authlib's own compares scopes by letter.

        Raises:
            OAuth2Error: one of them is not right.
        """
        client = self.request.client = self.authenticate_token_endpoint_client()
        if not client.check_grant_type(self.GRANT_TYPE):
            raise UnauthorizedClientError(description="The client has no redirect URI: it acts for nobody but itself")
        sent = self.request.form.get("refresh_token")
        if sent is None:
            raise InvalidRequestError(description="refresh_token is missing")
        approvals = self.server.desk.approvals
        ticket = _good(approvals, approvals.by_refresh(digest_of(sent)), client)
        if ticket is None:
            raise InvalidGrantError(description=_NOT_GOOD)
        wanted = self.request.payload.scope
        if wanted and not within(wanted, ticket.approval.scope):
            raise InvalidScopeError(description="The scope goes beyond what the person agreed to")
        self.request.refresh_token = ticket

    def authenticate_user(self, refresh_token: Ticket) -> Ticket:
        """The person said yes; tokens are made of what they said it to."""
        return refresh_token

    def revoke_old_credential(self, refresh_token: Ticket) -> None:
        """It was used up as the new one was made."""


def _good(approvals: Approvals, ticket: Ticket | None, client: Client) -> Ticket | None:
    """Return a ticket of this client that can be handed in; one that was used shows that it was stolen."""
    if ticket is None or ticket.approval.client != client.id:
        return None
    if ticket.used:
        approvals.revoke(ticket.approval.id)
    return ticket if ticket.good else None


def tokens_of(desk: Desk, ticket: Ticket, scope: str) -> dict[str, object]:
    """Hand in a ticket and return the token answer.

    Raises:
        InvalidGrantError: somebody else was faster.
    """
    approval, person = ticket.approval, ticket.approval.person
    refresh = unguessable() if _LASTING & set(approval.words) else None
    if not desk.approvals.redeem(ticket, digest_of(refresh) if refresh else None):
        raise InvalidGrantError(description=_NOT_GOOD)
    grant = Grant(
        tenant=person.tenant,
        client=approval.client,
        scope=scope,
        user=person.user,
        patient=approval.context.patient,
        encounter=approval.context.encounter,
        approval=approval.id,
        subject=person.name,
    )
    access = token.issue(grant, desk.key, place=desk.place, seconds=desk.seconds)
    answer = {"access_token": access, "token_type": "Bearer", "expires_in": desk.seconds, "scope": scope}
    more = {"refresh_token": refresh} if refresh else {}
    if ticket.kind == "code" and "openid" in approval.words:
        more["id_token"] = id_token(desk, approval)
    return answer | approval.context.members() | more


def id_token(desk: Desk, approval: Approval) -> str:
    """Say who signed in (OpenID Connect Core section 2; SMART 2.2, "Scopes for requesting identity data")."""
    key, person, now = desk.identity_key(), approval.person, int(clock.now().timestamp())
    claims: dict[str, object] = {
        "iss": desk.place.issuer,
        "sub": person.name,
        "aud": approval.client,
        "iat": now,
        "exp": now + desk.seconds,
        "auth_time": approval.auth_time,
    }
    if approval.nonce is not None:
        claims["nonce"] = approval.nonce
    if person.fhir_user:
        url = f"{desk.place.audience}/{person.fhir_user}"
        claims |= {name: url for name in ("fhirUser", "profile") if name in approval.words}
    header = {"alg": IDENTITY_ALGORITHM, "typ": "JWT", "kid": key.kid}
    return str(jwt.encode(header, claims, key.key, algorithms=[IDENTITY_ALGORITHM]))
