"""Access tokens: JWTs of type at+jwt (RFC 9068), signed by the bridge's own keys."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fhir_bridge import clock
from fhir_bridge.errors import Expired, Unauthenticated
from fhir_bridge.smart.grant import Grant

if TYPE_CHECKING:
    from fhir_bridge.smart.keys import SigningKey

TYPE: Final = "at+jwt"
ALGORITHMS: Final = ["ES384"]
LONGEST: Final = 8192
# Headers that bring or name key material: never ours, so never trusted (CVE-2026-27962).
_FOREIGN_HEADERS: Final = frozenset({"jwk", "jku", "x5u", "x5c", "crit"})
_CACHED: Final = 10_000


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
        "sub": grant.user or grant.client,
        "client_id": grant.client,
        "tenant": grant.tenant,
        "scope": grant.scope,
        "iat": now,
        "exp": now + seconds,
        "jti": clock.new_id(),
    }
    context = {name: value for name, value in (("user", grant.user), ("patient", grant.patient)) if value}
    header = {"alg": key.alg, "typ": TYPE, "kid": key.kid}
    return str(jwt.encode(header, claims | context, key.key, algorithms=ALGORITHMS))


class Verifier:
    """Verifies tokens; remembers what it verified until `exp`, by hash of the token.

    Only the signature and the claims are remembered: whether the client was disabled
    since is looked up by the caller for each request (ruling 25).
    """

    def __init__(self, keys: tuple[SigningKey, ...], place: Place) -> None:
        self._keys = KeySet([key.key for key in keys if key.alg in ALGORITHMS])
        self._place = place
        self._seen: dict[bytes, tuple[Grant, float]] = {}

    def grant(self, token: str) -> Grant:
        """Return the Grant of `token`.

        Raises:
            Unauthenticated: not a token of ours, or for another audience.
            Expired: past its `exp`.
        """
        digest = sha256(token.encode("utf-8", "replace")).digest()
        if digest not in self._seen:
            if len(self._seen) >= _CACHED:
                self._seen.clear()
            self._seen[digest] = self._verified(token)
        grant, expires = self._seen[digest]
        if clock.now().timestamp() >= expires:
            del self._seen[digest]
            raise Expired("The access token has expired: get a new one", challenge="invalid_token")
        return grant

    def _verified(self, token: str) -> tuple[Grant, float]:
        claims = self._claims(token)
        texts = {name: claims.get(name) for name in ("tenant", "client_id", "scope")}
        optional = {name: claims.get(name) for name in ("user", "patient")}
        fits = all(isinstance(value, str) for value in texts.values())
        fits = fits and claims.get("iss") == self._place.issuer and claims.get("aud") == self._place.audience
        expires = claims.get("exp")
        if not fits or not isinstance(expires, int):
            raise _refused()
        grant = Grant(
            tenant=str(texts["tenant"]),
            client=str(texts["client_id"]),
            scope=str(texts["scope"]),
            **{name: str(value) for name, value in optional.items() if value},
        )
        return grant, float(expires)

    def _claims(self, token: str) -> dict[str, object]:
        try:
            decoded = jwt.decode(token[: LONGEST + 1], self._keys, algorithms=ALGORITHMS)
        except (JoseError, ValueError) as exc:
            raise _refused() from exc
        header = decoded.header
        if len(token) > LONGEST or header.get("typ") != TYPE or "kid" not in header or header.keys() & _FOREIGN_HEADERS:
            raise _refused()
        return dict(decoded.claims)


def _refused() -> Unauthenticated:
    return Unauthenticated("The access token is not valid here: get a new one", challenge="invalid_token")
