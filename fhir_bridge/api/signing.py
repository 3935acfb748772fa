"""The bridge's own signing keys in this process: read from the store, and made by the first process to ask."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock
from fhir_bridge.smart import keys
from fhir_bridge.store import oauth
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from fhir_bridge.smart.keys import Algorithm, SigningKey
    from fhir_bridge.verbs.bridge import Bridge

KEPT_SECONDS: Final = 60.0  # a retired key signs no longer than this here
ASKED_SECONDS: Final = 1.0  # an unknown kid makes us look at most this often
_AFTER_MS: Final = 60_000  # clocks differ; a retired key that goes on verifying could be a stolen one


class SigningKeys:
    """The keys of one algorithm: one that signs, and those retired so lately that what they signed may be good yet."""

    def __init__(self, bridge: Bridge, alg: Algorithm) -> None:
        self._bridge = bridge
        self._alg = alg
        self._lock = threading.Lock()
        self._keys: tuple[SigningKey, ...] = ()
        self._read_at = 0.0

    def all(self, *, kept: float = KEPT_SECONDS) -> tuple[SigningKey, ...]:
        """Return the keys that verify, the one that signs first; read again when that was `kept` seconds ago."""
        with self._lock:
            if not self._keys or clock.monotonic() - self._read_at >= kept:
                self._keys = self._stored() or self._first()
                self._read_at = clock.monotonic()
            return self._keys

    def find(self, kid: str) -> SigningKey | None:
        """Return a key by its kid, also one that another process made a moment ago."""
        known = next((key for key in self.all() if key.kid == kid), None)
        return known or next((key for key in self.all(kept=ASKED_SECONDS) if key.kid == kid), None)

    def _stored(self) -> tuple[SigningKey, ...]:
        """Read the live key, and those retired lately; () without a live one."""
        oldest = now_ms() - self._bridge.settings.token_seconds * 1000 - _AFTER_MS
        rows = [row for row in self._bridge.store.read(oauth.signing_keys) if row.alg == self._alg]
        live = [row for row in rows if row.retired_ms is None]
        retired = [row for row in rows if row.retired_ms is not None and row.retired_ms > oldest]
        return tuple(self._opened(row) for row in [*live, *retired]) if live else ()

    def _first(self) -> tuple[SigningKey, ...]:
        """Make the first key; of several processes that try at once, one is heard."""
        key = keys.generate(self._alg)
        row = oauth.new_signing_key(key.kid, key.alg, key.private_json(), self._bridge.keyring)
        self._bridge.store.write(lambda conn: oauth.add_signing_key(conn, row))
        return self._stored()

    def _opened(self, row: oauth.SigningKey) -> SigningKey:
        return keys.load(row.kid, self._alg, row.open_private(self._bridge.keyring))
