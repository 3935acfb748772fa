"""Corti as each tenant reaches it: its own account, or the one of the settings."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fhir_bridge.corti import stand_in
from fhir_bridge.corti.client import CortiClient
from fhir_bridge.corti.endpoint import Endpoint, endpoint_of
from fhir_bridge.corti.socket import Stream
from fhir_bridge.corti.token import TokenSource
from fhir_bridge.errors import CortiLoginFailed, Forbidden
from fhir_bridge.store import oauth

if TYPE_CHECKING:
    from fhir_bridge.keyring import KeyRing
    from fhir_bridge.settings import Settings
    from fhir_bridge.store import Store
    from fhir_bridge.store.oauth import Tenant


@dataclass(frozen=True)
class Account:
    """A tenant's way to Corti, and the key of its audio."""

    endpoint: Endpoint
    environment: str
    tokens: TokenSource
    client: CortiClient
    audio_key: bytes
    is_elsewhere: bool = False  # not at an address of Corti's own
    stream: type[Stream] = Stream

    @cached_property
    def recogniser(self) -> str | None:
        """What listens in the place of Corti, asked once; None: Corti does.

        Raises:
            CortiUnavailable: nobody said.
        """
        return stand_in.recogniser(self.endpoint) if self.is_elsewhere else None


class Accounts:
    """One account for each tenant, made anew when the tenant's row changes; its token is shared by all runs."""

    def __init__(self, settings: Settings, store: Store, keyring: KeyRing) -> None:
        self._settings = settings
        self._store = store
        self._keyring = keyring
        self._made: dict[str, tuple[Tenant, Account]] = {}
        self._lock = threading.Lock()

    def of(self, tenant: str) -> Account:
        """Return the account of a tenant.

        Raises:
            CortiLoginFailed: neither the tenant nor the settings name credentials.
        """
        row = self._store.of(tenant).read(lambda conn: oauth.tenant(conn, tenant))
        if row is None:
            raise Forbidden("There is no such tenant")
        with self._lock:
            known = self._made.get(tenant)
            if known is None or known[0] != row:
                known = self._made[tenant] = (row, self._account(row))
            return known[1]

    def _account(self, row: Tenant) -> Account:
        settings = self._settings
        environment = row.corti_environment or settings.corti_environment
        endpoint = endpoint_of(
            environment, row.corti_tenant or settings.corti_tenant, settings.corti_api_url, settings.corti_auth_url
        )
        tokens = TokenSource(endpoint, *self._credentials(row), timeout=settings.corti_timeout_seconds)
        client = CortiClient(endpoint, tokens, timeout=settings.corti_timeout_seconds)
        audio_key = row.open_audio_key(self._keyring)
        return Account(endpoint, environment, tokens, client, audio_key, settings.corti_api_url is not None)

    def _credentials(self, row: Tenant) -> tuple[str, str]:
        settings = self._settings
        own = row.open_corti_secret(self._keyring)
        common = settings.corti_client_secret.get_secret_value() if settings.corti_client_secret else None
        client_id, secret = row.corti_client_id or settings.corti_client_id, own or common
        if not client_id or not secret:
            raise CortiLoginFailed(
                "There are no credentials for Corti: set FHIR_BRIDGE_CORTI_CLIENT_ID and "
                "FHIR_BRIDGE_CORTI_CLIENT_SECRET, or give the tenant its own, then ask again with $retry"
            )
        return client_id, secret
