"""Access tokens: JWTs of type at+jwt (RFC 9068), signed by the bridge's own keys."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from joserfc import jwt

from fhir_bridge import clock
from fhir_bridge.errors import Expired, Unauthenticated
from fhir_bridge.smart import compact
from fhir_bridge.smart.compact import Refused
from fhir_bridge.smart.grant import Grant

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.smart.compact import Compact
    from fhir_bridge.smart.keys import Algorithm, SigningKey

TYPE: Final = "at+jwt"
ALGORITHM: Final[Algorithm] = "ES384"
_CACHED: Final = 10_000
_CONTEXT: Final = ("user", "patient", "encounter", "approval")


@dataclass(frozen=True)
class Place:
    """Who issues tokens and for what: the authorization server and the FHIR base."""

    issuer: str
    audience: str


def issue(grant: Grant, key: SigningKey, *, place: Place, seconds: int) -> str:
    """Write `grant` as an access token that lives for `seconds`."""
    now = int(clock.now().timestamp())
    claims = {
        "iss": place.issuer,
        "aud": place.audience,
        "sub": grant.subject or grant.user or grant.client,
        "client_id": grant.client,
        "tenant": grant.tenant,
        "scope": grant.scope,
        "iat": now,
        "exp": now + seconds,
        "jti": clock.new_id(),
    }
    context = {name: value for name in _CONTEXT if (value := getattr(grant, name))}
    header = {"alg": key.alg, "typ": TYPE, "kid": key.kid}
    return str(jwt.encode(header, claims | context, key.key, algorithms=[ALGORITHM]))


class Verifier:
    """Verifies tokens; remembers what it verified until `exp`, by hash of the token.

    Only the signature and the claims are remembered: whether the client was disabled
    since is looked up by the caller for each request (ruling 25).
    """

    def __init__(self, find_key: Callable[[str], SigningKey | None], place: Place) -> None:
        """Take what finds a signing key by its kid; it may know keys that came after this object."""
        self._find_key = find_key
        self._place = place
        self._seen: dict[bytes, tuple[Grant, int]] = {}

    def grant(self, token: str) -> Grant:
        """Return the Grant of `token`.

        Raises:
            Unauthenticated: not a token of ours, or for another audience.
            Expired: past its `exp`.
        """
        digest = sha256(token.encode("utf-8", "replace")).digest()
        known = self._seen.get(digest)
        grant, expires = known or self._verified(token)
        if clock.now().timestamp() >= expires:
            self._seen.pop(digest, None)
            raise Expired("The access token has expired: get a new one", challenge="invalid_token")
        if known is None:
            if len(self._seen) >= _CACHED:
                self._seen.clear()
            self._seen[digest] = grant, expires
        return grant

    def _verified(self, token: str) -> tuple[Grant, int]:
        try:
            found = compact.opened(token, typ=TYPE)
            key = self._find_key(found.header["kid"])
            if key is None or not key.alg == found.header["alg"] == ALGORITHM:
                raise Refused("not a key of ours")  # noqa: TRY301 - every refusal has the same answer
            found.verify(key.key, ALGORITHM)
            found.check_begun()
            return self._read(found), found.seconds("exp")
        except Refused as exc:
            raise Unauthenticated(
                "The access token is not valid here: get a new one", challenge="invalid_token"
            ) from exc

    def _read(self, found: Compact) -> Grant:
        """Read the claims of a token whose signature holds."""
        if (found.claim("iss"), found.claim("aud")) != (self._place.issuer, self._place.audience):
            raise Refused("of another issuer, or for another audience")
        return Grant(
            tenant=found.claim("tenant"),
            client=found.claim("client_id"),
            scope=found.claim("scope"),
            subject=found.claim("sub"),
            jti=found.claim("jti"),
            exp=found.seconds("exp"),
            **{name: found.claim(name) for name in _CONTEXT if name in found.claims},
        )
