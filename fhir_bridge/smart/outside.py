"""Tokens of outside issuers: issuer -> keys -> audience -> tenant, each pinned by the operator (ruling 25).

A token is shown to nobody but the issuer that it names. One that names none (opaque) goes
to the only issuer that is asked about its tokens; where there are several it is refused.
"""

from __future__ import annotations

import re
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock
from fhir_bridge.errors import BadSetting, Expired, IssuerUnavailable, Unauthenticated
from fhir_bridge.smart import compact
from fhir_bridge.smart.claims import grant_from_claims
from fhir_bridge.smart.compact import Refused
from fhir_bridge.smart.introspection_client import IntrospectionClient
from fhir_bridge.smart.jwks import OF_ISSUERS, JwksCache
from fhir_bridge.smart.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from joserfc.jwk import KeySet

    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.trusted import TrustedIssuer

CACHED: Final = 10_000
VERIFIED_SECONDS: Final = 300  # then a signature is verified again, by the keys of that time
RETRY_SECONDS: Final = 10
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750 section 2.1
_THUMBPRINTS: Final = frozenset({"x5t", "x5t#S256"})  # of certificates; ignored, the key is found by kid
_KEY_OF: Final = {"RS256": ("RSA", None), "RS384": ("RSA", None), "ES256": ("EC", "P-256"), "ES384": ("EC", "P-384")}


class Issuer:
    """One trusted issuer, and how its tokens are verified."""

    def __init__(self, trusted: TrustedIssuer, *, base: str, allow_private: bool) -> None:
        self.trusted = trusted
        self.metadata = Metadata(trusted, allow_private=allow_private)
        self._base = base
        self._types = frozenset(map(str.lower, trusted.types))
        self._introspection = IntrospectionClient(trusted, self.metadata)
        self._caches = {private: JwksCache(allow_private=private, habit=OF_ISSUERS) for private in (True, False)}

    @property
    def kept_seconds(self) -> int:
        """How long what was verified may be believed."""
        return VERIFIED_SECONDS if self.trusted.verify == "jwks" else self.trusted.cache_seconds

    def verified(self, token: str) -> tuple[Grant, int]:
        """Return the Grant of `token` and its `exp`.

        Raises:
            Refused: it proves nothing.
            IssuerUnavailable: what is needed to judge it cannot be had.
        """
        by_keys = self.trusted.verify == "jwks"
        claims = self.signed(token) if by_keys else self._introspection.claims(token)
        return grant_from_claims(claims, self.trusted, base=self._base), compact.seconds_in(claims, "exp")

    def tried(self) -> str:
        """Ask it what a first token would make us ask; tell what came.

        Raises:
            IssuerUnavailable: it cannot be had.
        """
        if self.trusted.verify == "jwks":
            return f"{len(self._key_set('').keys)} keys"
        with suppress(Refused):
            self._introspection.claims("a-token-nobody-has")
        return "answers about tokens"

    def signed(self, token: str) -> Mapping[str, object]:
        """Return the claims of a JWT that this issuer signed and that has begun.

        Raises:
            Refused: it did not.
            IssuerUnavailable: its keys cannot be had.
        """
        found = compact.opened_as(token, types=self._types, extra_headers=_THUMBPRINTS)
        alg, kid = found.header["alg"], found.header["kid"]
        if alg not in self.trusted.algorithms:
            raise Refused("signed by another algorithm")
        kind, curve = _KEY_OF[alg]
        keys = [key for key in self._key_set(kid).keys if key.kid == kid and key.key_type == kind]
        if len(keys) != 1 or (curve and keys[0].get("crv") != curve):
            raise Refused("no single key has this kid and type")
        found.verify(keys[0], alg)
        found.check_begun()
        return found.claims

    def _key_set(self, kid: str) -> KeySet:
        url = self.trusted.jwks_uri or self.metadata.endpoint("jwks_uri")
        try:
            return self._caches[self.metadata.is_private(url)].get(url, kid)
        except ValueError as exc:
            raise IssuerUnavailable("The keys of the issuer cannot be had", retry_after=RETRY_SECONDS) from exc


class Outside:
    """All trusted issuers, and what was verified lately, by hash of the token."""

    def __init__(
        self, trusted: tuple[TrustedIssuer, ...], *, base: str, allow_private: bool, own: str | None = None
    ) -> None:
        """Take the FHIR base, and the name of the built-in issuer, which is none of these.

        Raises:
            BadSetting: it is one of these.
        """
        if any(each.issuer == own for each in trusted):
            raise BadSetting("An outside issuer has the bridge's own name", at="FHIR_BRIDGE_TRUSTED_ISSUERS")
        self.issuers = tuple(Issuer(each, base=base, allow_private=allow_private) for each in trusted)
        self._seen: dict[bytes, tuple[Grant, float]] = {}

    def is_theirs(self, token: str) -> bool:
        """Tell whether a token names one of these issuers, or none and one of these may know it."""
        return bool(self._asked(token))

    def grant(self, token: str) -> Grant:
        """Return the Grant of `token`.

        Raises:
            Unauthenticated: no issuer of these vouches for it, or not for this use.
            Expired: past its `exp`.
            IssuerUnavailable: what is needed to judge it cannot be had.
        """
        digest = sha256(token.encode("utf-8", "replace")).digest()
        now = clock.now().timestamp()
        known = self._seen.get(digest)
        if known is not None and now < known[1]:
            return known[0]
        issuer, (grant, expires) = self._verified(token)
        if now >= expires:
            raise Expired("The access token has expired: get a new one", challenge="invalid_token")
        if len(self._seen) >= CACHED:
            self._seen.clear()
        self._seen[digest] = grant, min(expires, now + issuer.kept_seconds)
        return grant

    def _verified(self, token: str) -> tuple[Issuer, tuple[Grant, int]]:
        for issuer in self._asked(token):
            with suppress(Refused):
                return issuer, issuer.verified(token)
        raise Unauthenticated("The access token is not valid here: get a new one", challenge="invalid_token")

    def _asked(self, token: str) -> tuple[Issuer, ...]:
        """Return who may know a token; of one name there are several when they differ in audience and tenant."""
        said = compact.issuer_said(token)
        if said is not None:
            return tuple(each for each in self.issuers if each.trusted.issuer == said)
        asked = tuple(each for each in self.issuers if each.trusted.verify == "introspection")
        is_plain = len(token) <= compact.LONGEST and _TOKEN.fullmatch(token)
        return asked if is_plain and len({each.trusted.issuer for each in asked}) == 1 else ()
