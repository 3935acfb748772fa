"""The token endpoint: Authlib's flows with SMART's rules, free of any web framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Request
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator

from fhir_bridge.smart import token
from fhir_bridge.smart.assertion import ClientAssertion
from fhir_bridge.smart.client import PRIVATE_KEY_JWT, SECRET_METHODS
from fhir_bridge.smart.grant import Grant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fhir_bridge.smart.client import Client
    from fhir_bridge.smart.jwks import JwksCache
    from fhir_bridge.smart.keys import SigningKey
    from fhir_bridge.smart.token import Place

# Whether the way here was encrypted is judged once, where the bridge is exposed, and not
# from the URL behind a proxy: Authlib's own check is given a URL that passes it.
_SECURE_URI: Final = "https://token.invalid/"


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
        self.payload = BasicOAuth2Payload(dict(form))

    @property
    def form(self) -> dict[str, str]:
        return dict(self.payload.data)


class _BackendServices(ClientCredentialsGrant):  # type: ignore[misc]  # Authlib ships no types
    TOKEN_ENDPOINT_AUTH_METHODS = [PRIVATE_KEY_JWT, *SECRET_METHODS]  # noqa: RUF012 - Authlib's own form


class _Server(AuthorizationServer):  # type: ignore[misc]  # Authlib ships no types
    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        generator = BearerTokenGenerator(self._access_token, expires_generator=desk.seconds)
        self.register_token_generator("default", generator)
        self.register_grant(_BackendServices)
        self.register_client_auth_method(
            PRIVATE_KEY_JWT, ClientAssertion(desk.token_url, cache=desk.cache, first_use=desk.first_use)
        )

    def query_client(self, client_id: str) -> Client | None:
        return self._desk.find_client(client_id)

    def save_token(self, token: object, request: object) -> None:
        """Tokens are self-contained; nothing is kept."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: _Request) -> _Request:
        return request

    def handle_response(self, status: int, body: dict[str, object], headers: list[tuple[str, str]]) -> Answer:
        return Answer(status, body, tuple(headers))

    def _access_token(self, *, client: Client, scope: str, **_: object) -> str:
        grant = Grant(tenant=client.tenant, client=client.id, scope=scope)
        return token.issue(grant, self._desk.key, place=self._desk.place, seconds=self._desk.seconds)


def token_response(desk: Desk, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
    """Answer POST /oauth/token (RFC 6749 section 5, SMART 2.2 "Backend Services").

    Bad client authentication is 401 for every method (ruling 25).
    """
    answer: Answer = _Server(desk).create_token_response(_Request(form, headers))
    if answer.body.get("error") != "invalid_client":
        return answer
    challenge = ("WWW-Authenticate", 'Basic realm="fhir-bridge"')
    kept = tuple(header for header in answer.headers if header[0].lower() != "www-authenticate")
    return Answer(401, answer.body, (*kept, challenge))
