"""Tokens of this process: signing keys and clients from the store, for smart to work with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.api import guests
from fhir_bridge.api.approved import Approved
from fhir_bridge.api.signing import KEPT_SECONDS, SigningKeys
from fhir_bridge.errors import BadSetting
from fhir_bridge.smart import codes, token
from fhir_bridge.smart.client import Client
from fhir_bridge.smart.flows import Desk
from fhir_bridge.smart.jwks import JwksCache
from fhir_bridge.smart.outside import Outside
from fhir_bridge.smart.provider import Provider
from fhir_bridge.smart.token import Place, Verifier
from fhir_bridge.store import approvals, oauth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.smart.keys import SigningKey
    from fhir_bridge.verbs.bridge import Bridge


class Tokens:
    """Issues and verifies access tokens with the bridge's signing keys, which the first process to ask makes."""

    def __init__(self, bridge: Bridge, *, has_guests: bool = False) -> None:
        """Take the rooms, and whether whoever tries the bridge is let in (see `guests`)."""
        bridge = bridge.of_all()  # whose a client, a person, a code or a token is: that is asked here
        self._bridge = bridge
        self.has_guests = has_guests
        self._place = Place(issuer=bridge.origin, audience=bridge.base)
        self._cache = JwksCache(allow_private=bridge.settings.allow_private_endpoints)
        self._signing = SigningKeys(bridge, token.ALGORITHM)
        self._identity = SigningKeys(bridge, codes.IDENTITY_ALGORITHM)
        self._approvals = Approved(bridge).approvals()
        self.verifier = Verifier(self.find_key, self._place)
        self.outside = Outside(
            bridge.settings.trusted_issuers,
            base=bridge.base,
            allow_private=bridge.settings.allow_private_endpoints,
            own=bridge.origin,
        )
        self._gives_tokens = bridge.settings.built_in_issuer
        if not self._gives_tokens and not self.outside.issuers:
            raise BadSetting("No issuer is left whose tokens count", at="FHIR_BRIDGE_BUILT_IN_ISSUER")
        self.providers = {
            each.tenant: Provider(each, bridge.origin, allow_private=bridge.settings.allow_private_endpoints)
            for each in bridge.settings.sign_in_providers
        }

    def grant(self, token: str) -> Grant:
        """Return the Grant of an access token, of an outside issuer's or of the bridge's own.

        Raises:
            Unauthenticated: one that does not hold.
            IssuerUnavailable: what is needed to judge it cannot be had.
        """
        is_ours = self._gives_tokens and not self.outside.is_theirs(token)
        return (self.verifier if is_ours else self.outside).grant(token)

    def elsewhere(self) -> Mapping[str, object] | None:
        """Return what the first outside issuer publishes, where no tokens are given here; None: they are.

        Raises:
            IssuerUnavailable: it does not answer.
        """
        return None if self._gives_tokens else self.outside.issuers[0].metadata.all()

    def keys(self, *, kept: float = KEPT_SECONDS) -> tuple[SigningKey, ...]:
        """Return the keys that verify access tokens, the one that signs first."""
        return self._signing.all(kept=kept)

    def find_key(self, kid: str) -> SigningKey | None:
        """Return a key by its kid, also one that another process made a moment ago."""
        return self._signing.find(kid)

    def published(self) -> tuple[SigningKey, ...]:
        """Return all keys that others may need: those of access tokens, and of id_tokens."""
        return (*self._signing.all(), *self._identity.all())

    def desk(self) -> Desk:
        """Return what the token endpoint works with."""
        return Desk(
            find_client=self.find_client,
            first_use=lambda iss, jti, exp: self._bridge.store.write(
                lambda conn: oauth.first_use(conn, iss=iss, jti=jti, exp=exp)
            ),
            cache=self._cache,
            key=self.keys()[0],
            place=self._place,
            token_url=f"{self._bridge.origin}/oauth/token",
            seconds=self._bridge.settings.token_seconds,
            approvals=self._approvals,
            identity_key=lambda: self._identity.all()[0],
            verifier=self.verifier,
        )

    def find_client(self, client_id: str) -> Client | None:
        """Return a client that is registered and not disabled."""
        if not client_id.isprintable():  # no id of ours, and not every database takes such a text
            return None
        if self.has_guests and client_id == guests.SWAGGER:
            return guests.swagger(self._bridge.origin)
        row = self._bridge.store.read(lambda conn: oauth.client(conn, client_id))
        if row is None or row.disabled:
            return None
        return Client(
            row.id, row.tenant, row.scope, row.secret_hash, row.jwks, row.jwks_uri, row.redirect_uris, row.name
        )

    def find_user(self, name: str) -> oauth.User | None:
        """Return who signs in by this name."""
        if self.has_guests and name == guests.NAME:
            return guests.user()
        return self._bridge.store.read(lambda conn: oauth.user(conn, name))

    def is_active(self, grant: Grant) -> bool:
        """Tell whether the client of this token still counts, for the tenant that the token names.

        Who the clients of outside issuers are is theirs to say; the tenant must be one of ours.
        """
        if grant.issuer is not None:
            theirs = self._bridge.store.of(grant.tenant)
            return theirs.read(lambda conn: oauth.tenant(conn, grant.tenant)) is not None
        client = self.find_client(grant.client)
        return client is not None and client.tenant == grant.tenant and not self._is_revoked(grant)

    def _is_revoked(self, grant: Grant) -> bool:
        theirs = self._bridge.store.of(grant.tenant)
        return theirs.read(lambda conn: approvals.is_revoked(conn, jti=grant.jti, approval=grant.approval))

    def redirect_uris(self) -> tuple[str, ...]:
        """Return where apps that count have their pages."""
        found = self._bridge.store.read(oauth.clients)
        return tuple(uri for client in found if not client.disabled for uri in client.redirect_uris)
