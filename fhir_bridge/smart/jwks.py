"""Clients' public keys: registered as a set, or fetched from the URL that was registered."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fhir_bridge import clock, net
from fhir_bridge.errors import BusinessRule

LARGEST: Final = 64 * 1024
SECONDS: Final = 5.0
DEFAULT_AGE: Final = 300.0
REFETCH_SECONDS: Final = 60.0  # an unknown kid asks again at most this often (security.md, row S)
_MAX_AGE: Final = re.compile(r"max-age=(\d{1,9})")


def key_set(text: str) -> KeySet:
    """Read a JWK Set.

    Raises:
        ValueError: it is none, or holds a key without a kid.
    """
    try:
        keys = KeySet.import_key_set(json.loads(text))
    except (JoseError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ValueError("not a JWK Set") from exc
    if not all(key.kid for key in keys.keys):
        raise ValueError("a key without kid")
    return keys


@dataclass(frozen=True)
class _Fetched:
    keys: KeySet
    at: float
    until: float


class JwksCache:
    """Fetches key sets through the SSRF guard and keeps them as long as their headers allow."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._fetched: dict[str, _Fetched] = {}
        self._lock = threading.Lock()

    def get(self, url: str, kid: str) -> KeySet:
        """Return the keys at `url`, fetched again when stale or when `kid` is not among them.

        Raises:
            ValueError: the URL is refused or does not answer with a JWK Set.
        """
        with self._lock:
            known = self._fetched.get(url)
            if known is None or self._is_stale(known, kid):
                known = self._fetched[url] = self._fetch(url)
        return known.keys

    def _is_stale(self, known: _Fetched, kid: str) -> bool:
        now = clock.monotonic()
        missing = all(key.kid != kid for key in known.keys.keys)
        return now >= known.until or (missing and now - known.at >= REFETCH_SECONDS)

    def _fetch(self, url: str) -> _Fetched:
        try:
            answer = net.fetch(
                url, limit=LARGEST, seconds=SECONDS, accept="application/json", allow_private=self._allow_private
            )
        except BusinessRule as exc:
            raise ValueError("the JWKS URL did not answer") from exc
        if answer.status != HTTPStatus.OK:
            raise ValueError("the JWKS URL did not answer with a JWK Set")
        age = _MAX_AGE.search(answer.headers.get("Cache-Control", ""))
        now = clock.monotonic()
        keys = key_set(answer.body.decode("utf-8", "replace"))
        return _Fetched(keys, now, now + (float(age[1]) if age else DEFAULT_AGE))
