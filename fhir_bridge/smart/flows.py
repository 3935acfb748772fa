"""The token endpoint: Authlib's flows with SMART's rules, free of any web framework."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    InvalidClientError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload

from fhir_bridge.smart import secret, token
from fhir_bridge.smart.assertion import ClientAssertion
from fhir_bridge.smart.client import PRIVATE_KEY_JWT, SECRET_METHODS
from fhir_bridge.smart.codes import METHODS, S256, Code, Refresh, tokens_of
from fhir_bridge.smart.grant import Grant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from authlib.oauth2.rfc6749 import OAuth2Error

    from fhir_bridge.smart.approval import Approvals, Ticket
    from fhir_bridge.smart.client import Client
    from fhir_bridge.smart.jwks import JwksCache
    from fhir_bridge.smart.keys import SigningKey
    from fhir_bridge.smart.token import Place, Verifier

# Whether the way here was encrypted is judged once, where the bridge is exposed, and not
# from the URL behind a proxy: Authlib's own check is given a URL that passes it.
_SECURE_URI: Final = "https://token.invalid/"

logging.getLogger("authlib").setLevel(logging.WARNING)  # below that it writes whole access tokens


@dataclass(frozen=True)
class Answer:
    """What the token endpoint says: status, JSON members, headers."""

    status: int
    body: dict[str, object]
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Desk:
    """What the flows need to know: who the clients are, what people approved, with which keys tokens are signed."""

    find_client: Callable[[str], Client | None]
    first_use: Callable[[str, str, int], bool]
    cache: JwksCache
    key: SigningKey
    place: Place
    token_url: str
    seconds: int
    approvals: Approvals
    identity_key: Callable[[], SigningKey]
    verifier: Verifier


class Request(OAuth2Request):  # type: ignore[misc]  # Authlib ships no types
    """A form that was posted, as Authlib reads it."""

    def __init__(self, form: Mapping[str, str], headers: Mapping[str, str]) -> None:
        super().__init__("POST", _SECURE_URI, headers=headers)
        # "Parameters sent without a value MUST be treated as if they were omitted" (RFC 6749 section 3.2)
        self.payload = BasicOAuth2Payload({name: value for name, value in form.items() if value})

    @property
    def form(self) -> dict[str, str]:
        """The parameters that have a value."""
        return dict(self.payload.data)


class _BackendServices(ClientCredentialsGrant):  # type: ignore[misc]  # Authlib ships no types
    TOKEN_ENDPOINT_AUTH_METHODS = [PRIVATE_KEY_JWT, *SECRET_METHODS]  # noqa: RUF012 - Authlib's own form


class Server(AuthorizationServer):  # type: ignore[misc]  # Authlib ships no types
    """Authlib's server, for one request."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.register_grant(_BackendServices)
        self.register_grant(Code, [S256()])
        self.register_grant(Refresh)
        self.register_token_generator(_BackendServices.GRANT_TYPE, self._backend_token)
        self.register_token_generator("default", self._persons_token)
        assertion = ClientAssertion(desk.token_url, cache=desk.cache, first_use=desk.first_use)
        proofs = (assertion, secret.by_basic, secret.by_form, secret.by_nothing)
        for method, authenticate in zip(METHODS, proofs, strict=True):
            self.register_client_auth_method(method, authenticate)

    def query_client(self, client_id: str) -> Client | None:
        """Find a client that is registered and not disabled."""
        return self.desk.find_client(client_id)

    def authenticate_client(self, request: Request, methods: Sequence[str], endpoint: str = "token") -> Client:
        """Take one proof at most (RFC 6749 section 2.3), of whom client_id names (RFC 7521 section 4.2)."""
        proofs = (
            "client_assertion" in request.form,
            "client_secret" in request.form,
            "Authorization" in request.headers,
        )
        if sum(proofs) > 1:
            raise InvalidRequestError(description="Authenticate in one way only")
        client: Client = super().authenticate_client(request, methods, endpoint)
        if request.form.get("client_id", client.id) != client.id:
            raise InvalidClientError(description="client_id is not the client that was authenticated")
        return client

    def save_token(self, token: object, request: object) -> None:
        """Tokens are self-contained; nothing is kept."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: Request) -> Request:
        """It is one already."""
        return request

    def handle_error_response(self, request: Request, error: OAuth2Error) -> Answer:
        """Answer with an error, and never without a word why."""
        error.description = error.description or "See /fhir/.well-known/smart-configuration for what is served"
        answer: Answer = super().handle_error_response(request, error)
        return answer

    def handle_response(self, status: int, body: dict[str, object], headers: list[tuple[str, str]]) -> Answer:
        """Answer, free of any web framework."""
        return Answer(status, body, tuple(headers))

    def _backend_token(self, *, client: Client, scope: str | None, **_: object) -> dict[str, object]:
        """Give a token for what needs neither a user nor a patient: there is none here (SMART 2.2)."""
        words = [word for word in (scope or "").split() if word.startswith("system/") or word == "launch"]
        allowed = client.get_allowed_scope(" ".join(words))
        if allowed is None:
            raise InvalidScopeError(description="The client is not registered for any scope that was asked for")
        grant = Grant(tenant=client.tenant, client=client.id, scope=allowed)
        made = token.issue(grant, self.desk.key, place=self.desk.place, seconds=self.desk.seconds)
        return {"access_token": made, "token_type": "bearer", "expires_in": self.desk.seconds, "scope": allowed}

    def _persons_token(self, *, user: Ticket, scope: str, **_: object) -> dict[str, object]:
        """Give a token for what a person agreed to."""
        return tokens_of(self.desk, user, scope)


def token_response(desk: Desk, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
    """Answer POST /oauth/token (RFC 6749 section 5, SMART 2.2 "Backend Services").

    The answers to bad client authentication are `challenged`.
    """
    server, request = Server(desk), Request(form, headers)
    if not request.payload.grant_type:
        return server.handle_error_response(request, InvalidRequestError(description="grant_type is missing"))
    return challenged(server.create_token_response(request))


def challenged(answer: Answer) -> Answer:
    """Answer bad client authentication with 401 and a challenge, whatever the method was (ruling 25)."""
    if answer.body.get("error") != "invalid_client":
        return answer
    challenge = ("WWW-Authenticate", 'Basic realm="fhir-bridge"')
    kept = tuple(header for header in answer.headers if header[0].lower() != "www-authenticate")
    return Answer(401, answer.body, (*kept, challenge))
