"""Access tokens for Corti: Keycloak client credentials, one request at a time, renewed early (corti-api 1.3)."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import requests

from fhir_bridge import clock, log, net
from fhir_bridge.corti.reading import json_of, number_of, object_of, text_of
from fhir_bridge.corti.refusals import refusal
from fhir_bridge.errors import CortiError, CortiLoginFailed, CortiNonsense, CortiTimeout, CortiUnavailable

if TYPE_CHECKING:
    from fhir_bridge.corti.endpoint import Endpoint

_RENEW_AT: Final = 0.6  # of its life
_NEVER_WITHIN: Final = 60.0  # seconds of its end
_ASSUMED_LIFE: Final = 300.0
_OK: Final = 200
_REMEDY: Final = "check client id, client secret, tenant and environment"
_CODE: Final = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True, slots=True)
class _Token:
    access: str
    renew_at: float
    unusable_at: float
    refresh: str | None
    refresh_until: float


class TokenSource:
    """Gives access tokens to any number of threads; only one asks Keycloak at a time."""

    def __init__(self, endpoint: Endpoint, client_id: str, client_secret: str, *, timeout: float = 30.0) -> None:
        self._url = endpoint.token_url
        self._client = {"client_id": client_id, "client_secret": client_secret, "scope": "openid"}
        self._keycloak = net.session(read_seconds=timeout)
        self._one_at_a_time = threading.Lock()
        self._token: _Token | None = None

    def bearer(self) -> str:
        """Return a token that is good for another minute at least.

        Raises:
            CortiLoginFailed: Keycloak does not accept the client.
            CortiUnavailable: Keycloak does not answer.
        """
        token = self._token
        if token is None or clock.monotonic() >= token.renew_at:
            token = self._newer_if_possible(token)
        return token.access

    def renew(self, stale: str) -> str:
        """Return another token than `stale`, which Corti refused."""
        token = self._token
        return self._newer_than(token).access if token is None or token.access == stale else token.access

    def fresh(self) -> str:
        """Return a token asked for after this call: every stream connection begins with one (reliability 6)."""
        return self._newer_if_possible(self._token).access

    def _newer_if_possible(self, old: _Token | None) -> _Token:
        """Bridge a short outage of the login with the token there is, while that still holds."""
        try:
            return self._newer_than(old)
        except CortiUnavailable:
            if old is None or clock.monotonic() >= old.unusable_at:
                raise
            return old

    def _newer_than(self, old: _Token | None) -> _Token:
        with self._one_at_a_time:
            current = self._token
            if current is not None and current is not old:
                return current  # another thread fetched it while this one waited
            self._token = self._fetch(old)
            return self._token

    def _fetch(self, old: _Token | None) -> _Token:
        if old is not None and old.refresh and clock.monotonic() < old.refresh_until - _NEVER_WITHIN:
            with suppress(CortiLoginFailed):  # a refresh token may be revoked; the secret still counts
                return self._ask({"grant_type": "refresh_token", "refresh_token": old.refresh})
        return self._ask({"grant_type": "client_credentials"})

    def _ask(self, grant: dict[str, str]) -> _Token:
        asked, status = clock.monotonic(), 0
        try:
            # A secret follows no redirect.
            response = self._keycloak.post(self._url, data={**grant, **self._client}, allow_redirects=False)
            status = response.status_code
        except requests.Timeout as exc:
            raise CortiTimeout("Corti's login did not answer in time") from exc
        except requests.RequestException as exc:
            raise CortiUnavailable("Corti's login cannot be reached") from exc
        finally:
            log.event("corti.token", status=status, ms=round((clock.monotonic() - asked) * 1000))
        if status != _OK:
            raise _refused(response)
        return _token(json_of(response.content), asked)


def _refused(response: requests.Response) -> CortiError:
    """Name a refusal by Keycloak's OAuth code; its prose stays there."""
    error = refusal(response.status_code, response.headers, b"")
    if isinstance(error, CortiUnavailable):
        return error
    with suppress(CortiNonsense):
        code = text_of(object_of(json_of(response.content)).get("error"))
        if _CODE.fullmatch(code):
            return CortiLoginFailed(f"Corti's login refused the client ({code}): {_REMEDY}")
    return CortiLoginFailed(f"Corti's login answers {response.status_code}: {_REMEDY}")


def _token(answer: object, asked: float) -> _Token:
    said = object_of(answer)
    access = text_of(said.get("access_token"))
    if not access:
        raise CortiNonsense("Corti's login answered without an access token")
    life = number_of(said.get("expires_in")) or _ASSUMED_LIFE
    refresh_life = number_of(said.get("refresh_expires_in")) or 0.0
    return _Token(
        access=access,
        renew_at=asked + min(life * _RENEW_AT, life - _NEVER_WITHIN),
        unusable_at=asked + life - _NEVER_WITHIN,
        refresh=text_of(said.get("refresh_token")) or None,
        refresh_until=asked + refresh_life,
    )
