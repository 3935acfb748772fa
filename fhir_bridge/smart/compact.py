"""Reads a signed JWT as strictly as RFC 7515 and RFC 8725 let us, before its signature is looked at."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode

from fhir_bridge import clock

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from joserfc.jwk import Key

LONGEST: Final = 8192
LONGEST_KID: Final = 128  # security.md, row S
SKEW_SECONDS: Final = 30
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# Nothing that brings or names key material (jwk, x5u, x5c: CVE-2026-27962), and no extension
# (crit, b64, zip): a list of what is read, so that what is invented later is refused.
_NEEDED: Final = frozenset({"alg", "kid"})
_PLAIN_HEADERS: Final = _NEEDED | {"typ"}
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999


class Refused(ValueError):
    """A JWT that proves nothing. `text` says why, in words of ours that hold nothing of the token."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class _Registry(jws.JWSRegistry):
    """The sizes that hold here: joserfc's 512 bytes of header leave no room for a `jku`."""

    max_header_length = LONGEST
    max_signature_length = LONGEST


@dataclass(frozen=True)
class Compact:
    """A JWT whose form was checked. Its claims are what somebody says until `verify` was called."""

    text: str
    header: Mapping[str, str]
    claims: Mapping[str, object]

    def claim(self, name: str) -> str:
        """Return a claim that must be a text.

        Raises:
            Refused: it is none, is empty, or has characters that are no text.
        """
        found = self.claims.get(name)
        if not isinstance(found, str) or not found or not found.isprintable():
            raise Refused(f"{name} must be a text")
        return found

    def seconds(self, name: str) -> int:
        """Return a claim that must be a time in whole seconds since 1970.

        Raises:
            Refused: it is none.
        """
        return seconds_in(self.claims, name)

    def verify(self, key: Key, algorithm: str) -> None:
        """Check the signature by one key and the one algorithm that this kind of key is for.

        Raises:
            Refused: it does not hold.
        """
        try:
            jws.deserialize_compact(self.text, key, registry=_Registry(algorithms=[algorithm]))
        except (JoseError, ValueError) as exc:
            raise Refused("the signature does not hold") from exc

    def check_begun(self) -> None:
        """Check that the token is not of the future: `iat` and `nbf`, if it has them.

        Raises:
            Refused: it is, beyond what clocks may differ.
        """
        latest = clock.now().timestamp() + SKEW_SECONDS
        if any(name in self.claims and self.seconds(name) > latest for name in ("iat", "nbf")):
            raise Refused("the token is not valid yet")


def seconds_in(claims: Mapping[str, object], name: str) -> int:
    """Return a claim that must be a time in whole seconds since 1970.

    Raises:
        Refused: it is none.
    """
    found = claims.get(name)
    if type(found) is not int or not 0 <= found <= _LAST_SECOND:
        raise Refused(f"{name} must be a time in whole seconds")
    return found


def issuer_said(text: str) -> str | None:
    """Return whose a token says to be, to choose by; None for what is no JWT, or does not say it in one way."""
    if len(text) > LONGEST or not _FORM.fullmatch(text):
        return None
    try:
        found = _object(text.split(".")[1]).get("iss")
    except Refused:
        return None
    return found if isinstance(found, str) else None


def opened(text: str, *, typ: str, extra_headers: frozenset[str] = frozenset()) -> Compact:
    """Take a compact JWS apart.

    `typ` is compared without case (RFC 7515 section 4.1.9); `extra_headers` may be there besides alg, kid and typ.

    Raises:
        Refused: it is no JWS with a JSON object as payload, its header has what is not read
            here, or anything in it could be read in two ways.
    """
    return opened_as(text, types=(typ,), extra_headers=extra_headers)


def opened_as(text: str, *, types: Collection[str], extra_headers: frozenset[str] = frozenset()) -> Compact:
    """Take a compact JWS of one of several `types` apart, as `opened` does; "" stands for a header without typ.

    Raises:
        Refused: as in `opened`.
    """
    if len(text) > LONGEST or not _FORM.fullmatch(text):
        raise Refused("no signed JWT, or one that is too long")
    head, payload, _ = text.split(".")
    header, claims = _object(head), _object(payload)
    texts = {name: value for name, value in header.items() if isinstance(value, str) and value.isprintable()}
    if len(texts) < len(header) or not _NEEDED <= texts.keys() <= _PLAIN_HEADERS | extra_headers:
        raise Refused("the header must have alg, kid and typ, and nothing that is not read here")
    if texts.get("typ", "").lower() not in types or not 0 < len(texts["kid"]) <= LONGEST_KID:
        wanted = " or ".join(types)
        raise Refused(f"the header must have typ {wanted} and a kid of at most {LONGEST_KID} characters")
    return Compact(text, texts, claims)


def _object(segment: str) -> dict[str, object]:
    try:
        text = urlsafe_b64decode(segment.encode()).decode()
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as exc:
        raise Refused("header and payload must be base64url of JSON objects without repeated names") from exc
    if not isinstance(found, dict):
        raise Refused("header and payload must be JSON objects")
    return found


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a name that is there twice: what reads the first and what reads the last would disagree."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_number(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")
