"""Tokens of this process: signing keys and clients from the store, for smart to work with."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fhir_bridge.smart import keys
from fhir_bridge.smart.client import Client
from fhir_bridge.smart.flows import Desk
from fhir_bridge.smart.jwks import JwksCache
from fhir_bridge.smart.token import Place, Verifier
from fhir_bridge.store import oauth

if TYPE_CHECKING:
    from fhir_bridge.smart.keys import SigningKey
    from fhir_bridge.verbs.bridge import Bridge


class Tokens:
    """Issues and verifies access tokens with the bridge's signing keys, which the first process to ask makes."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._place = Place(issuer=bridge.origin, audience=bridge.base)
        self._cache = JwksCache(allow_private=bridge.settings.allow_private_endpoints)
        self._lock = threading.Lock()
        self._keys: tuple[SigningKey, ...] = ()
        self._verifier: Verifier | None = None

    def keys(self) -> tuple[SigningKey, ...]:
        """Return the signing keys, newest first."""
        with self._lock:
            if not self._keys:
                self._keys = self._stored() or self._first()
            return self._keys

    def verifier(self) -> Verifier:
        """Return what verifies access tokens, with its cache."""
        if self._verifier is None:
            self._verifier = Verifier(self.keys(), self._place)
        return self._verifier

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
        rows = self._bridge.store.read(oauth.signing_keys)
        newest = sorted(rows, key=lambda row: (row.retired_ms is None, row.created_ms), reverse=True)
        return tuple(self._opened(row) for row in newest)

    def _first(self) -> tuple[SigningKey, ...]:
        """Make the first key; of several processes that try at once, one is heard."""
        key = keys.generate("ES384")
        row = oauth.new_signing_key(key.kid, key.alg, key.private_json(), self._bridge.keyring)
        self._bridge.store.write(lambda conn: oauth.add_signing_key(conn, row))
        return self._stored()

    def _opened(self, row: oauth.SigningKey) -> SigningKey:
        private = row.open_private(self._bridge.keyring)
        return keys.load(row.kid, "RS256" if row.alg == "RS256" else "ES384", private)

    def find_client(self, client_id: str) -> Client | None:
        """Return a client that is registered and not disabled."""
        row = self._bridge.store.read(lambda conn: oauth.client(conn, client_id))
        if row is None or row.disabled:
            return None
        return Client(row.id, row.tenant, row.scope, row.secret_hash, row.jwks, row.jwks_uri)

    def is_active(self, client_id: str) -> bool:
        """Tell whether tokens of this client still count."""
        return self.find_client(client_id) is not None
