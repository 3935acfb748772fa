"""Client authentication by signed assertion: SMART 2.2, "Asymmetric authentication".

Built on Authlib, with what SMART asks and Authlib leaves out: RS384 and ES384, the
five-minute rule, jku, one key by kid (fhir-smart-rules 4.2 and 4.7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authlib.oauth2.rfc6749 import InvalidClientError
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fhir_bridge import clock
from fhir_bridge.smart.client import PRIVATE_KEY_JWT, Client
from fhir_bridge.smart.jwks import key_set

if TYPE_CHECKING:
    from collections.abc import Callable

    from joserfc.jwk import Key

    from fhir_bridge.smart.jwks import JwksCache

ALGORITHMS: Final = ["RS384", "ES384"]
LONGEST: Final = 8192
LONGEST_NAME: Final = 255
LIFE_SECONDS: Final = 300
SKEW_SECONDS: Final = 30
_FOREIGN_HEADERS: Final = frozenset({"jwk", "x5u", "x5c", "crit"})
_KEY_TYPE: Final = {"RS384": "RSA", "ES384": "EC"}


class ClientAssertion(JWTBearerClientAssertion):  # type: ignore[misc]  # Authlib ships no types
    """Checks one assertion against the registered keys of its client."""

    CLIENT_AUTH_METHOD = PRIVATE_KEY_JWT

    def __init__(self, token_url: str, *, cache: JwksCache, first_use: Callable[[str, str, int], bool]) -> None:
        """Take the token URL that `aud` must name, and what remembers (iss, jti, exp) once."""
        super().__init__(leeway=SKEW_SECONDS)
        self._audience = token_url
        self._cache = cache
        self._first_use = first_use
        self._header: dict[str, object] = {}

    def __call__(self, query_client: Callable[[str], Client | None], request: object) -> Client | None:
        """Authenticate; an assertion is bound to this call, so one object serves one request."""
        found: Client | None = super().__call__(query_client, request)
        return found

    def extract_assertion(self, assertion: str) -> tuple[dict[str, object], dict[str, object]]:
        """Look at the header before anything else of the assertion is believed."""
        if len(assertion) > LONGEST:
            raise InvalidClientError(description="The assertion is too long.")
        try:
            self._header, claims = super().extract_assertion(assertion)
        except (ValueError, RecursionError) as exc:
            raise InvalidClientError(description="Invalid JWT assertion.") from exc
        kid = self._header.get("kid")
        if self._header.get("alg") not in ALGORITHMS or self._header.keys() & _FOREIGN_HEADERS:
            raise InvalidClientError(description="Sign the assertion with RS384 or ES384 and a registered key.")
        if str(self._header.get("typ")).upper() != "JWT" or not isinstance(kid, str) or len(kid) > LONGEST_NAME:
            raise InvalidClientError(description="The assertion header must have typ JWT and a kid.")
        return self._header, claims

    def resolve_client_public_key(self, client: Client) -> Key:
        """Find the one registered key that the header names."""
        if "jku" in self._header and self._header["jku"] != client.jwks_uri:
            raise InvalidClientError(description="jku is not the registered JWKS URL.")
        kid, kind = str(self._header["kid"]), _KEY_TYPE[str(self._header["alg"])]
        named = [key for key in self._registered(client, kid).keys if key.kid == kid and key.key_type == kind]
        if len(named) != 1:
            raise InvalidClientError(description="No registered key has this kid and type.")
        return named[0]

    def _registered(self, client: Client, kid: str) -> KeySet:
        try:
            if client.jwks:
                return key_set(client.jwks)
            return self._cache.get(client.jwks_uri, kid) if client.jwks_uri else KeySet([])
        except ValueError as exc:
            raise InvalidClientError(description="The registered keys of the client cannot be read.") from exc

    def process_assertion_claims(self, assertion: str, resolve_key: Key) -> dict[str, object]:
        """Verify the signature with the algorithms of SMART, then the claims."""
        try:
            claims = jwt.decode(assertion, resolve_key, algorithms=ALGORITHMS).claims
        except (JoseError, ValueError) as exc:
            raise InvalidClientError(description="The signature of the assertion does not hold.") from exc
        exp, jti = claims.get("exp"), claims.get("jti")
        if not isinstance(exp, int) or exp > clock.now().timestamp() + LIFE_SECONDS + SKEW_SECONDS:
            raise InvalidClientError(description="exp must be at most five minutes ahead.")
        if not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_NAME:
            raise InvalidClientError(description="jti must be a text of at most 255 characters.")
        self.verify_claims(claims)
        return dict(claims)

    def get_audiences(self) -> list[str]:
        """An assertion is for the token URL."""
        return [self._audience]

    def validate_jti(self, claims: dict[str, object], jti: str) -> bool:
        """Take each jti of a client once."""
        exp = claims["exp"]
        assert isinstance(exp, int)  # noqa: S101 - checked before
        return self._first_use(str(claims["iss"]), jti, exp + SKEW_SECONDS)
