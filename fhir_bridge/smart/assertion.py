"""Client authentication by signed assertion: SMART 2.2, "Asymmetric authentication".

A method for Authlib's server, but not its own JWTBearerClientAssertion, which refuses RS384
and ES384, lets `exp` be an hour ahead, knows no jku, typ and kid, asks the machine's clock
and raises foreign errors at headers that are no objects (fhir-smart-rules 4.2 and 4.7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from authlib.oauth2.rfc6749 import InvalidClientError
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion

from fhir_bridge import clock
from fhir_bridge.smart import compact
from fhir_bridge.smart.client import PRIVATE_KEY_JWT, Client
from fhir_bridge.smart.compact import SKEW_SECONDS, Refused
from fhir_bridge.smart.jwks import key_set

if TYPE_CHECKING:
    from collections.abc import Callable

    from authlib.oauth2.rfc6749 import OAuth2Request
    from joserfc.jwk import Key, KeySet

    from fhir_bridge.smart.compact import Compact
    from fhir_bridge.smart.jwks import JwksCache

ASSERTION_TYPE: Final = JWTBearerClientAssertion.CLIENT_ASSERTION_TYPE
TYPE: Final = "jwt"
ALGORITHMS: Final = ["RS384", "ES384"]
LONGEST_JTI: Final = 255
LIFE_SECONDS: Final = 300
# `jku` is compared, the thumbprints of certificates are ignored: the key is found by kid.
_EXTRA_HEADERS: Final = frozenset({"jku", "x5t", "x5t#S256"})
_KEY_TYPE: Final = {"RS384": "RSA", "ES384": "EC"}


class ClientAssertion:
    """Authenticates a client by its assertion and the keys it registered."""

    def __init__(self, token_url: str, *, cache: JwksCache, first_use: Callable[[str, str, int], bool]) -> None:
        """Take the token URL that `aud` must name, and what remembers (iss, jti, exp) once."""
        self._audience = token_url
        self._cache = cache
        self._first_use = first_use

    def __call__(self, query_client: Callable[[str], Client | None], request: OAuth2Request) -> Client | None:
        """Return the client that signed the assertion, None when there is no assertion.

        Raises:
            InvalidClientError: the assertion proves nothing.
        """
        assertion = request.form.get("client_assertion")
        if request.form.get("client_assertion_type") != ASSERTION_TYPE or not assertion:
            return None
        try:
            return self._client_of(compact.opened(assertion, typ=TYPE, extra_headers=_EXTRA_HEADERS), query_client)
        except Refused as exc:
            raise InvalidClientError(description=f"The client assertion is refused: {exc.text}") from exc

    def _client_of(self, sent: Compact, query_client: Callable[[str], Client | None]) -> Client:
        """Verify first the signature, then what it signs; use up the jti last."""
        alg = sent.header["alg"]
        if alg not in ALGORITHMS:
            raise Refused("sign it with RS384 or ES384")
        client = query_client(sent.claim("sub"))
        if client is None or not client.check_endpoint_auth_method(PRIVATE_KEY_JWT, "token"):
            raise Refused("no client with registered keys has this sub")
        sent.verify(self._key(client, sent), alg)
        self._check_claims(sent)
        if not self._first_use(client.id, _jti(sent), sent.seconds("exp") + SKEW_SECONDS):
            raise Refused("jti was used before")
        return client

    def _key(self, client: Client, sent: Compact) -> Key:
        """Find the one registered key that the header names."""
        kid, kind = sent.header["kid"], _KEY_TYPE[sent.header["alg"]]
        if "jku" in sent.header and sent.header["jku"] != client.jwks_uri:
            raise Refused("jku is not the registered JWKS URL")
        named = [key for key in self._registered(client, kid).keys if key.kid == kid and key.key_type == kind]
        if len(named) != 1:
            raise Refused("no single registered key has this kid and type")
        return named[0]

    def _registered(self, client: Client, kid: str) -> KeySet:
        try:
            return key_set(client.jwks) if client.jwks else self._cache.get(str(client.jwks_uri), kid)
        except ValueError as exc:
            raise Refused("the registered keys cannot be had, or are no JWK Set") from exc

    def _check_claims(self, sent: Compact) -> None:
        now = clock.now().timestamp()
        if sent.claim("iss") != sent.claim("sub"):
            raise Refused("iss and sub must be the client_id")
        aud = sent.claims.get("aud")
        if self._audience not in (aud if isinstance(aud, list) else [aud]):
            raise Refused("aud must be the URL of the token endpoint")
        sent.check_begun()
        if not now - SKEW_SECONDS < sent.seconds("exp") <= now + LIFE_SECONDS + SKEW_SECONDS:
            raise Refused("exp must be at most five minutes ahead")


def _jti(sent: Compact) -> str:
    jti = sent.claim("jti")
    if len(jti) > LONGEST_JTI:
        raise Refused(f"jti must have at most {LONGEST_JTI} characters")
    return jti
