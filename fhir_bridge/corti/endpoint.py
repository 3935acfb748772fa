"""Where Corti is: origins, tenant, and the URL of a stream."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from fhir_bridge.errors import BadSetting

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One Corti environment and tenant. Both URLs are origins (ruling 29)."""

    api_url: str
    auth_url: str
    tenant: str

    @property
    def token_url(self) -> str:
        """Where Keycloak gives tokens for this tenant's realm."""
        return f"{self.auth_url}/realms/{self.tenant}/protocol/openid-connect/token"

    def stream_url(self, interaction_id: str, offered: str | None = None) -> str:
        """Return the stream's URL without a token.

        `offered`, the websocketUrl Corti gave, is used only if its host is the API's or
        Corti's own (ruling 12): a token goes nowhere else. It is never sent over ws://
        unless the API itself is plain http.
        """
        parts = _split(offered or "")
        if not self._is_ours(parts):
            scheme, _, host = self.api_url.partition("://")
            path = f"/audio-bridge/v2/interactions/{quote(interaction_id, safe='')}/streams"
            parts = SplitResult("wss" if scheme == "https" else "ws", host, path, "", "")
        query = [(name, value) for name, value in parse_qsl(parts.query) if name != "token"]
        if "tenant-name" not in dict(query):
            query.append(("tenant-name", self.tenant))
        return parts._replace(query=urlencode(query, quote_via=quote), fragment="").geturl()

    def _is_ours(self, parts: SplitResult) -> bool:
        api = urlsplit(self.api_url)
        if parts.username is not None or parts.scheme not in {"wss", "ws"}:
            return False
        host, port = _address(parts)
        if (host, port) == _address(api):
            return parts.scheme == "wss" or api.scheme == "http"
        return parts.scheme == "wss" and host.endswith(".corti.app") and port == _PORTS["wss"]


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # half an IPv6 address
        return urlsplit("")


def _address(parts: SplitResult) -> tuple[str, int | None]:
    try:
        return parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # a port that is none
        return "", None


def with_token(url: str, token: str) -> str:
    """Add the token as the stream wants it, `Bearer%20…` (corti-api 3.1). The result is a secret."""
    return f"{url}&token={quote(f'Bearer {token}', safe='')}"


def endpoint_of(environment: str, tenant: str, api_url: str | None = None, auth_url: str | None = None) -> Endpoint:
    """Find Corti from an environment name, or from origins that override it.

    Raises:
        BadSetting: a name that cannot be part of a URL, or a URL that is no origin.
    """
    return Endpoint(
        api_url=_origin(api_url or f"https://api.{_name(environment, 'ENVIRONMENT')}.corti.app", "API_URL"),
        auth_url=_origin(auth_url or f"https://auth.{_name(environment, 'ENVIRONMENT')}.corti.app", "AUTH_URL"),
        tenant=_name(tenant, "TENANT"),
    )


def _name(value: str, setting: str) -> str:
    if not _NAME.fullmatch(value):
        key = f"FHIR_BRIDGE_CORTI_{setting}"
        raise BadSetting(f"{key} may hold letters, digits, dots, underscores and hyphens only", at=key)
    return value


def _origin(url: str, setting: str) -> str:
    parts = _split(url)
    host, port = _address(parts)
    beyond = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in {"http", "https"} or not host or port is None or beyond:
        key = f"FHIR_BRIDGE_CORTI_{setting}"
        raise BadSetting(f"{key} must be an origin such as https://api.eu.corti.app, without a path", at=key)
    return f"{parts.scheme}://{parts.netloc}".lower()
