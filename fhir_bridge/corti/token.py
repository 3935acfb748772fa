"""Access tokens for Corti: Keycloak client credentials, one request at a time, renewed early (corti-api 1.3)."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import requests
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.client import OAuth2Client

from fhir_bridge import clock, log, net
from fhir_bridge.corti.reading import number_of, object_of, text_of
from fhir_bridge.corti.refusals import refusal
from fhir_bridge.errors import CortiError, CortiLoginFailed, CortiNonsense, CortiTimeout, CortiUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.corti.endpoint import Endpoint

_RENEW_AT: Final = 0.6  # of its life
_NEVER_WITHIN: Final = 60.0  # seconds of its end
_ASSUMED_LIFE: Final = 300.0
_IN_THE_FORM: Final = "client_secret_post"  # how the secret travels, as Corti's example sends it
_THROTTLED: Final = 429
_BROKEN: Final = 500
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
        session = net.session(read_seconds=timeout)
        session.max_redirects = 0  # a secret follows no redirect
        session.hooks["response"].append(_answered)
        self._url = endpoint.token_url
        self._keycloak = OAuth2Client(session, client_id, client_secret, _IN_THE_FORM, scope="openid")
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
            try:
                return self._ask(lambda: self._keycloak.refresh_token(self._url, refresh_token=old.refresh))
            except CortiLoginFailed:
                pass  # the refresh token was revoked; the secret still counts
        return self._ask(lambda: self._keycloak.fetch_token(self._url, grant_type="client_credentials"))

    def _ask(self, grant: Callable[[], object]) -> _Token:
        asked = clock.monotonic()
        error: CortiError | None = None
        try:
            return _token(grant(), asked)
        except (OAuth2Error, requests.RequestException, ValueError) as exc:
            error = _translated(exc)
            raise error from exc
        except CortiError as exc:
            error = exc
            raise
        finally:
            status = "ok" if error is None else type(error).__name__
            log.event("corti.token", status=status, ms=round((clock.monotonic() - asked) * 1000))


def _answered(response: requests.Response, **_: object) -> None:
    """Keep an overloaded or broken Keycloak from being read as one that answers."""
    if response.status_code == _THROTTLED or response.status_code >= _BROKEN:
        response.raise_for_status()


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


def _translated(exc: Exception) -> CortiError:
    """Name what went wrong at Keycloak; its codes are OAuth's, its prose stays there."""
    match exc:
        case OAuth2Error(error=code):
            named = f" ({code})" if _CODE.fullmatch(str(code)) else ""
            return CortiLoginFailed(
                f"Corti's login refused the client{named}: check client id, client secret, tenant and environment"
            )
        case requests.HTTPError(response=requests.Response() as answer):
            error = refusal(answer.status_code, answer.headers, b"")
            is_lasting = not isinstance(error, CortiUnavailable)
            return CortiLoginFailed(f"Corti's login answers {answer.status_code}") if is_lasting else error
        case requests.Timeout():
            return CortiTimeout("Corti's login did not answer in time")
        case requests.RequestException():
            return CortiUnavailable("Corti's login cannot be reached")
    return CortiNonsense("Corti's login answered with something that is no token")
