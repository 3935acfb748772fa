"""Where an outside issuer has its endpoints: its openid-configuration, or RFC 8414's metadata."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from fhir_bridge import clock, net
from fhir_bridge.errors import BusinessRule, IssuerUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.trusted import TrustedIssuer

LARGEST: Final = 128 * 1024
SECONDS: Final = 5.0
KEPT_SECONDS: Final = 3600.0
AGAIN_SECONDS: Final = 10.0
_OPENID: Final = "/.well-known/openid-configuration"
_OAUTH: Final = "/.well-known/oauth-authorization-server"


@dataclass(frozen=True)
class _Told:
    found: Mapping[str, object] | None
    until: float


class Metadata:
    """What one issuer publishes; read when it is first needed, then hourly, and kept while it is away."""

    def __init__(self, issuer: TrustedIssuer, *, allow_private: bool) -> None:
        """`allow_private`: even plain http and any address will do (development)."""
        self._issuer = issuer
        self._allow_private = allow_private
        self._lock = threading.Lock()
        self._told = _Told(None, 0.0)

    def endpoint(self, name: str) -> str:
        """Return the URL that is published as `name`.

        Raises:
            IssuerUnavailable: the issuer is away, or publishes no such URL that may be asked.
        """
        url = self.all().get(name)
        if not isinstance(url, str) or not (url.startswith("https:") or self._allow_private):
            raise IssuerUnavailable(f"The issuer publishes no {name}", retry_after=int(AGAIN_SECONDS))
        return url

    def is_private(self, url: str) -> bool:
        """Tell whether `url` may lead to a private address: it is the operator's own word, or below the same origin."""
        named = {self._issuer.jwks_uri, self._issuer.introspection_endpoint}
        same = urlsplit(url)[:2] == urlsplit(self._issuer.issuer)[:2]
        return self._allow_private or (self._issuer.private_network and (same or url in named))

    def all(self) -> Mapping[str, object]:
        """Return all that is published.

        Raises:
            IssuerUnavailable: nothing that is the issuer's own can be had.
        """
        with self._lock:
            now = clock.monotonic()
            if now >= self._told.until:
                fresh = self._fetched()
                wait = AGAIN_SECONDS if fresh is None else KEPT_SECONDS
                self._told = _Told(self._told.found if fresh is None else fresh, now + wait)
            if self._told.found is None:
                raise IssuerUnavailable("The issuer of the token does not answer", retry_after=int(AGAIN_SECONDS))
            return self._told.found

    def _fetched(self) -> Mapping[str, object] | None:
        """Ask at both places; the answer must be of this issuer (OpenID Connect Discovery 4.3, RFC 8414 3.3)."""
        url = self._issuer.issuer.rstrip("/")
        parts = urlsplit(url)
        places = (url + _OPENID, f"{parts.scheme}://{parts.netloc}{_OAUTH}{parts.path}")
        return next((found for place in places if (found := self._read(place)) is not None), None)

    def _read(self, url: str) -> Mapping[str, object] | None:
        private = self.is_private(url)
        try:
            answer = net.fetch(url, limit=LARGEST, seconds=SECONDS, accept="application/json", allow_private=private)
            found = json.loads(answer.body) if answer.status == HTTPStatus.OK else None
        except (BusinessRule, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) and found.get("issuer") == self._issuer.issuer else None
