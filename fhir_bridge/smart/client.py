"""A registered SMART client, as Authlib's flows ask about it."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from authlib.oauth2.rfc6749 import ClientMixin

from fhir_bridge.smart.scope import narrowed

PRIVATE_KEY_JWT: Final = "private_key_jwt"
NO_PROOF: Final = "none"
SECRET_METHODS: Final = ("client_secret_basic", "client_secret_post")
# A token carries its scopes in a header; and narrowing takes time for each pair of words.
LONGEST_SCOPE: Final = 4096


def secret_hash(secret: str) -> str:
    """Hash a client secret for storage. Secrets are 256 random bits: one SHA-256 is enough."""
    return sha256(secret.encode()).hexdigest()


@dataclass(frozen=True)
class Client(ClientMixin):  # type: ignore[misc]  # Authlib ships no types
    """What was registered: one of a secret, a JWK Set, or the URL of one; an app with none of them is public.

    One with redirect URIs acts for people who sign in, one with a proof of who it is also for itself.
    """

    id: str
    tenant: str
    scope: str
    secret_hash: str | None = field(default=None, repr=False)
    jwks: str | None = None
    jwks_uri: str | None = None
    redirect_uris: tuple[str, ...] = ()
    name: str = ""

    @property
    def is_public(self) -> bool:
        """Tell whether it is an app that cannot keep a secret: a page in a browser, an app on a phone."""
        return not (self.secret_hash or self.jwks or self.jwks_uri) and bool(self.redirect_uris)

    def check_client_secret(self, client_secret: str) -> bool:
        """Compare in constant time."""
        return self.secret_hash is not None and hmac.compare_digest(self.secret_hash, secret_hash(client_secret))

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002 - Authlib's signature
        """A client with keys proves itself with them, one with a secret by that, and a public one not at all."""
        if self.is_public:
            return method == NO_PROOF
        if self.jwks or self.jwks_uri:
            return method == PRIVATE_KEY_JWT
        return method in SECRET_METHODS

    def check_grant_type(self, grant_type: str) -> bool:
        """Backend services use client credentials, what has redirect URIs sends people here (SMART 2.2)."""
        return not self.is_public if grant_type == "client_credentials" else bool(self.redirect_uris)

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """Narrow a request to the registration; None makes Authlib answer invalid_scope."""
        if scope is None or len(scope) > LONGEST_SCOPE:
            return None
        found = narrowed(scope, self.scope)
        return found if 0 < len(found) <= LONGEST_SCOPE else None
