"""Outgoing HTTP: one session factory with timeouts, and the guard against SSRF."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from fhir_bridge.errors import BusinessRule

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_SECONDS: Final = 10.0


class _Timeouts(HTTPAdapter):
    """Gives every request a timeout; retries belong to the caller's one layer."""

    def __init__(self, read_seconds: float) -> None:
        self._timeout = (CONNECT_SECONDS, read_seconds)
        super().__init__(pool_maxsize=32)

    def send(  # type: ignore[override]  # requests passes these by keyword only
        self, request: requests.PreparedRequest, **options: object
    ) -> requests.Response:
        options["timeout"] = options.get("timeout") or self._timeout
        return super().send(request, **options)  # type: ignore[arg-type]


def session(*, read_seconds: float = 30.0, headers: Mapping[str, str] | None = None) -> requests.Session:
    """Make a session that never waits for ever, ignores proxies and .netrc of the machine."""
    made = requests.Session()
    made.trust_env = False
    made.headers.update(headers or {})
    for scheme in ("https://", "http://"):
        made.mount(scheme, _Timeouts(read_seconds))
    return made


def public_https(url: str, *, allow_private: bool = False, at: str | None = None) -> str:
    """Return `url` when it is one the bridge may fetch for a stranger.

    Raises:
        BusinessRule: not https on port 443, a user part, or a host that resolves to a
            private, loopback, link-local or otherwise special address.
    """
    parts = urlsplit(url)
    if allow_private and parts.scheme in {"http", "https"} and parts.hostname:
        return url
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.port not in {None, 443}:
        raise BusinessRule("Only https URLs on port 443 without a user part are fetched", at=at)
    if not all(_is_public(address) for address in _addresses(parts.hostname, at)):
        raise BusinessRule("The URL names a host that is not on the public internet", at=at)
    return url


def _addresses(host: str, at: str | None) -> set[str]:
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)}
    except OSError as exc:
        raise BusinessRule("The host of the URL cannot be resolved", at=at) from exc


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_global
