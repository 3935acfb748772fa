"""Clients' public keys: registered as a set, or fetched from the URL that was registered."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, KeySet
from joserfc.util import base64_to_int

from fhir_bridge import clock, net
from fhir_bridge.errors import BusinessRule

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST: Final = 64 * 1024
SECONDS: Final = 5.0
DEFAULT_AGE: Final = 300.0
LONGEST_AGE: Final = 3600.0  # a key that a client withdraws is forgotten within the hour, whatever its headers said
REFETCH_SECONDS: Final = 60.0  # an unknown kid asks again at most this often (security.md, row S)
FAILED_SECONDS: Final = 10.0  # whoever knows a client_id can make us ask: not more often than this when nothing comes
_MAX_AGE: Final = re.compile(r'(?:^|[,\s])max-age="?(\d{1,9})"?(?:$|[,\s])')
_NEVER_KEPT: Final = re.compile(r"\b(?:no-store|no-cache)\b")
_PRIVATE: Final = frozenset({"d", "k"})
_RSA_BITS: Final = range(2048, 8193)  # RFC 7518 section 3.3, and what is still verified at once


@dataclass(frozen=True)
class Habit:
    """Which curves are read, and how long keys are kept: `least` seconds, and `grace` more while nothing new comes."""

    curves: frozenset[str]
    least: float = 0.0
    grace: float = 0.0


OF_CLIENTS: Final = Habit(frozenset({"P-384"}))  # RS384 and ES384; "SHALL NOT be cached longer" (SMART 2.2)
# Every user of an issuer is gone with its keys. Some say no-cache of them: that would be a fetch for each token.
OF_ISSUERS: Final = Habit(frozenset({"P-256", "P-384"}), least=60.0, grace=3600.0)


def key_set(text: str, curves: frozenset[str] = OF_CLIENTS.curves) -> KeySet:
    """Read a JWK Set, and of it RSA keys and those on `curves`; the rest is left out.

    Left out too are private keys, which are no secret any more, and RSA keys that are too short.

    Raises:
        ValueError: it is none, or holds a key without a kid.
    """
    try:
        members = json.loads(text)["keys"]
        keys = [JWKRegistry.import_key(member) for member in members if _is_usable(member, curves)]
        if not all(isinstance(member["kid"], str) and member["kid"] for member in members):
            raise ValueError("a key without kid")  # noqa: TRY301 - one answer for every fault
    except (JoseError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError("the registered keys are no JWK Set whose keys have a kid") from exc
    return KeySet(keys)


def _is_usable(member: Mapping[str, object], curves: frozenset[str]) -> bool:
    if _PRIVATE & member.keys() or member.get("use", "sig") != "sig":
        return False
    match member.get("kty"):
        case "RSA":
            return base64_to_int(str(member["n"])).bit_length() in _RSA_BITS
        case "EC":
            return member.get("crv") in curves
    return False


@dataclass(frozen=True)
class _Fetched:
    keys: KeySet | None  # None: nothing usable came
    at: float
    until: float
    kept_until: float  # when nothing new comes


class JwksCache:
    """Fetches key sets through the SSRF guard and keeps them as long as their headers allow."""

    def __init__(self, *, allow_private: bool, habit: Habit = OF_CLIENTS) -> None:
        self._allow_private = allow_private
        self._habit = habit
        self._fetched: dict[str, _Fetched] = {}
        self._locks: dict[str, threading.Lock] = {}

    def get(self, url: str, kid: str) -> KeySet:
        """Return the keys at `url`, fetched again when stale or when `kid` is not among them.

        A slow server holds up its own client only; those who wait for it share its one answer.

        Raises:
            ValueError: the URL is refused or does not answer with a JWK Set.
        """
        with self._locks.setdefault(url, threading.Lock()):
            known = self._fetched.get(url)
            if known is None or _is_stale(known, kid):
                known = self._fetched[url] = _newer(known, self._fetch(url))
        if known.keys is None:
            raise ValueError("the JWKS URL does not answer with a JWK Set")
        return known.keys

    def _fetch(self, url: str) -> _Fetched:
        try:
            answer = net.fetch(
                url, limit=LARGEST, seconds=SECONDS, accept="application/json", allow_private=self._allow_private
            )
            keys = key_set(answer.body.decode(), self._habit.curves) if answer.status == HTTPStatus.OK else None
        except (BusinessRule, ValueError):
            keys = None
        now = clock.monotonic()
        until = now + (FAILED_SECONDS if keys is None else max(_age(answer.headers), self._habit.least))
        return _Fetched(keys, now, until, until + self._habit.grace)


def _is_stale(known: _Fetched, kid: str) -> bool:
    now = clock.monotonic()
    missing = known.keys is not None and all(key.kid != kid for key in known.keys.keys)
    return now >= known.until or (missing and now - known.at >= REFETCH_SECONDS)


def _newer(known: _Fetched | None, fresh: _Fetched) -> _Fetched:
    """Keep keys that are good yet when asking for an unknown kid, or for new ones within the grace, brought nothing."""
    if known is None or fresh.keys is not None or fresh.at >= known.kept_until:
        return fresh
    return replace(known, at=fresh.at, until=known.until if fresh.at < known.until else fresh.until)


def _age(headers: Mapping[str, str]) -> float:
    """Return how long an answer may be kept: by Cache-Control and never longer (SMART 2.2)."""
    said = headers.get("Cache-Control", "").lower()
    found = _MAX_AGE.search(said)
    if _NEVER_KEPT.search(said) or ("max-age" in said and found is None):
        return 0.0
    spent = headers.get("Age", "")
    age = float(found[1]) - (float(spent) if spent.isdecimal() else 0.0) if found else DEFAULT_AGE
    return min(max(age, 0.0), LONGEST_AGE)
