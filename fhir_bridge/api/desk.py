"""Tokens of this process: signing keys and clients from the store, for smart to work with."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock
from fhir_bridge.smart import keys, token
from fhir_bridge.smart.client import Client
from fhir_bridge.smart.flows import Desk
from fhir_bridge.smart.jwks import JwksCache
from fhir_bridge.smart.outside import Outside
from fhir_bridge.smart.token import Place, Verifier
from fhir_bridge.store import oauth
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.smart.keys import SigningKey
    from fhir_bridge.verbs.bridge import Bridge

KEPT_SECONDS: Final = 60.0  # a retired key signs no longer than this here
ASKED_SECONDS: Final = 1.0  # an unknown kid makes us look at most this often
_AFTER_MS: Final = 60_000  # clocks differ; a retired key that goes on verifying could be a stolen one


class Tokens:
    """Issues and verifies access tokens with the bridge's signing keys, which the first process to ask makes."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._place = Place(issuer=bridge.origin, audience=bridge.base)
        self._cache = JwksCache(allow_private=bridge.settings.allow_private_endpoints)
        self._lock = threading.Lock()
        self._keys: tuple[SigningKey, ...] = ()
        self._read_at = 0.0
        self.verifier = Verifier(self.find_key, self._place)
        self.outside = Outside(
            bridge.settings.trusted_issuers,
            base=bridge.base,
            allow_private=bridge.settings.allow_private_endpoints,
            own=bridge.origin,
        )

    def grant(self, token: str) -> Grant:
        """Return the Grant of an access token, of an outside issuer's or of the bridge's own.

        Raises:
            Unauthenticated: one that does not hold.
            IssuerUnavailable: what is needed to judge it cannot be had.
        """
        return (self.outside if self.outside.is_theirs(token) else self.verifier).grant(token)

    def keys(self, *, kept: float = KEPT_SECONDS) -> tuple[SigningKey, ...]:
        """Return the keys that verify, the one that signs first; read again when that was `kept` seconds ago."""
        with self._lock:
            if not self._keys or clock.monotonic() - self._read_at >= kept:
                self._keys = self._stored() or self._first()
                self._read_at = clock.monotonic()
            return self._keys

    def find_key(self, kid: str) -> SigningKey | None:
        """Return a key by its kid, also one that another process made a moment ago."""
        known = next((key for key in self.keys() if key.kid == kid), None)
        return known or next((key for key in self.keys(kept=ASKED_SECONDS) if key.kid == kid), None)

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
        )

    def _stored(self) -> tuple[SigningKey, ...]:
        """Read the live key, and those retired so lately that their tokens may be good yet; () without a live one."""
        oldest = now_ms() - self._bridge.settings.token_seconds * 1000 - _AFTER_MS
        rows = [row for row in self._bridge.store.read(oauth.signing_keys) if row.alg == token.ALGORITHM]
        live = [row for row in rows if row.retired_ms is None]
        retired = [row for row in rows if row.retired_ms is not None and row.retired_ms > oldest]
        return tuple(self._opened(row) for row in [*live, *retired]) if live else ()

    def _first(self) -> tuple[SigningKey, ...]:
        """Make the first key; of several processes that try at once, one is heard."""
        key = keys.generate("ES384")
        row = oauth.new_signing_key(key.kid, key.alg, key.private_json(), self._bridge.keyring)
        self._bridge.store.write(lambda conn: oauth.add_signing_key(conn, row))
        return self._stored()

    def _opened(self, row: oauth.SigningKey) -> SigningKey:
        return keys.load(row.kid, token.ALGORITHM, row.open_private(self._bridge.keyring))

    def find_client(self, client_id: str) -> Client | None:
        """Return a client that is registered and not disabled."""
        if not client_id.isprintable():  # no id of ours, and not every database takes such a text
            return None
        row = self._bridge.store.read(lambda conn: oauth.client(conn, client_id))
        if row is None or row.disabled:
            return None
        return Client(row.id, row.tenant, row.scope, row.secret_hash, row.jwks, row.jwks_uri)

    def is_active(self, grant: Grant) -> bool:
        """Tell whether the client of this token still counts, for the tenant that the token names.

        Who the clients of outside issuers are is theirs to say; the tenant must be one of ours.
        """
        if grant.issuer is not None:
            return self._bridge.store.read(lambda conn: oauth.tenant(conn, grant.tenant)) is not None
        client = self.find_client(grant.client)
        return client is not None and client.tenant == grant.tenant

    def redirect_uris(self) -> tuple[str, ...]:
        """Return where apps that count have their pages."""
        found = self._bridge.store.read(oauth.clients)
        return tuple(uri for client in found if not client.disabled for uri in client.redirect_uris)
