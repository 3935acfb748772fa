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
from fhir_bridge.smart.grant import Grant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authlib.oauth2.rfc6749 import OAuth2Error

    from fhir_bridge.smart.client import Client
    from fhir_bridge.smart.jwks import JwksCache
    from fhir_bridge.smart.keys import SigningKey
    from fhir_bridge.smart.token import Place

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
    """What the flows need to know: who the clients are, and with which key tokens are signed."""

    find_client: Callable[[str], Client | None]
    first_use: Callable[[str, str, int], bool]
    cache: JwksCache
    key: SigningKey
    place: Place
    token_url: str
    seconds: int


class _Request(OAuth2Request):  # type: ignore[misc]  # Authlib ships no types
    def __init__(self, form: Mapping[str, str], headers: Mapping[str, str]) -> None:
        super().__init__("POST", _SECURE_URI, headers=headers)
        # "Parameters sent without a value MUST be treated as if they were omitted" (RFC 6749 section 3.2)
        self.payload = BasicOAuth2Payload({name: value for name, value in form.items() if value})

    @property
    def form(self) -> dict[str, str]:
        return dict(self.payload.data)


class _BackendServices(ClientCredentialsGrant):  # type: ignore[misc]  # Authlib ships no types
    TOKEN_ENDPOINT_AUTH_METHODS = [PRIVATE_KEY_JWT, *SECRET_METHODS]  # noqa: RUF012 - Authlib's own form


class _Server(AuthorizationServer):  # type: ignore[misc]  # Authlib ships no types
    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.register_grant(_BackendServices)
        self.register_token_generator(_BackendServices.GRANT_TYPE, self._backend_token)
        assertion = ClientAssertion(desk.token_url, cache=desk.cache, first_use=desk.first_use)
        for method, authenticate in zip(
            (PRIVATE_KEY_JWT, *SECRET_METHODS), (assertion, secret.by_basic, secret.by_form), strict=True
        ):
            self.register_client_auth_method(method, authenticate)

    def query_client(self, client_id: str) -> Client | None:
        return self._desk.find_client(client_id)

    def authenticate_client(self, request: _Request, methods: list[str], endpoint: str = "token") -> Client:
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

    def create_oauth2_request(self, request: _Request) -> _Request:
        return request

    def handle_error_response(self, request: _Request, error: OAuth2Error) -> Answer:
        error.description = error.description or "See /fhir/.well-known/smart-configuration for what is served"
        answer: Answer = super().handle_error_response(request, error)
        return answer

    def handle_response(self, status: int, body: dict[str, object], headers: list[tuple[str, str]]) -> Answer:
        return Answer(status, body, tuple(headers))

    def _backend_token(self, *, client: Client, scope: str | None, **_: object) -> dict[str, object]:
        """Give a token for what needs neither a user nor a patient: there is none here (SMART 2.2)."""
        words = [word for word in (scope or "").split() if not word.startswith(("user/", "patient/"))]
        allowed = client.get_allowed_scope(" ".join(words))
        if allowed is None:
            raise InvalidScopeError(description="The client is not registered for any scope that was asked for")
        grant = Grant(tenant=client.tenant, client=client.id, scope=allowed)
        made = token.issue(grant, self._desk.key, place=self._desk.place, seconds=self._desk.seconds)
        return {"access_token": made, "token_type": "bearer", "expires_in": self._desk.seconds, "scope": allowed}


def token_response(desk: Desk, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
    """Answer POST /oauth/token (RFC 6749 section 5, SMART 2.2 "Backend Services").

    Bad client authentication is 401 for every method (ruling 25).
    """
    server, request = _Server(desk), _Request(form, headers)
    if not request.payload.grant_type:
        return server.handle_error_response(request, InvalidRequestError(description="grant_type is missing"))
    answer: Answer = server.create_token_response(request)
    if answer.body.get("error") != "invalid_client":
        return answer
    challenge = ("WWW-Authenticate", 'Basic realm="fhir-bridge"')
    kept = tuple(header for header in answer.headers if header[0].lower() != "www-authenticate")
    return Answer(401, answer.body, (*kept, challenge))
