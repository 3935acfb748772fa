"""Asks an outside issuer about a token (RFC 7662), and believes the answer for a short while."""

from __future__ import annotations

import base64
import json
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

from fhir_bridge import net
from fhir_bridge.errors import BusinessRule, IssuerUnavailable
from fhir_bridge.smart.compact import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.smart.metadata import Metadata
    from fhir_bridge.trusted import Known, TrustedIssuer

LARGEST: Final = 64 * 1024
SECONDS: Final = 5.0
AT_ONCE: Final = 8  # a slow issuer holds up so many requests, and not the whole bridge
WAIT_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 5


class IntrospectionClient:
    """The bridge as a client of one issuer's introspection endpoint."""

    def __init__(self, issuer: TrustedIssuer, metadata: Metadata) -> None:
        self._issuer = issuer
        self._metadata = metadata
        self._slots = threading.BoundedSemaphore(AT_ONCE)

    def claims(self, token: str) -> Mapping[str, object]:
        """Return what the issuer says of an active token.

        Raises:
            Refused: it is not active, or of another issuer.
            IssuerUnavailable: the issuer does not say.
        """
        if not self._slots.acquire(timeout=WAIT_SECONDS):
            raise IssuerUnavailable("The issuer of the token is slow", retry_after=RETRY_SECONDS)
        try:
            found = self._asked(token)
        finally:
            self._slots.release()
        if found.get("active") is not True:
            raise Refused("not active")
        if found.get("iss", self._issuer.issuer) != self._issuer.issuer:
            raise Refused("of another issuer")
        return found

    def _asked(self, token: str) -> Mapping[str, object]:
        url = self._issuer.introspection_endpoint or self._metadata.endpoint("introspection_endpoint")
        try:
            answer = net.fetch(
                url,
                limit=LARGEST,
                seconds=SECONDS,
                accept="application/json",
                allow_private=self._metadata.is_private(url),
                form=form_of(self._issuer, {"token": token, "token_type_hint": "access_token"}),
            )
            found = json.loads(answer.body) if answer.status == HTTPStatus.OK else None
        except (BusinessRule, OSError, ValueError, RecursionError) as exc:
            raise _unavailable() from exc
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise _unavailable("does not accept the client_id and secret of the bridge")
        if not isinstance(found, dict):
            raise _unavailable()
        return found


def form_of(who: Known, fields: Mapping[str, str]) -> net.Form:
    """Return a form of the bridge as a client of an issuer (RFC 6749 section 2.3.1).

    Raises:
        OSError: the file with the secret cannot be read.
    """
    name, secret = who.client_id or "", who.secret()
    if not secret:
        return net.Form({**fields, "client_id": name})
    if who.client_auth == "client_secret_post":
        return net.Form({**fields, "client_id": name, "client_secret": secret})
    pair = f"{quote_plus(name)}:{quote_plus(secret)}".encode()
    return net.Form(fields, f"Basic {base64.b64encode(pair).decode()}")


def _unavailable(why: str = "does not answer about it") -> IssuerUnavailable:
    return IssuerUnavailable(f"The issuer of the token {why}", retry_after=RETRY_SECONDS)
