"""What an HTTP error of Corti means: every shape of corti-api 1.4 becomes one of our errors.

Corti's own sentences are not passed on (they name Go types and may repeat what was sent);
what helps is: the status, Corti's code, its request id and the paths of refused members.
"""

from __future__ import annotations

import re
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock
from fhir_bridge.corti.reading import json_of, object_of, objects_of, text_of
from fhir_bridge.errors import (
    CortiDuplicate,
    CortiError,
    CortiForbidden,
    CortiLoginFailed,
    CortiNonsense,
    CortiNotFound,
    CortiRefused,
    CortiThrottled,
    CortiTimeout,
    CortiUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.corti.messages import Json

_MEANING: Final[dict[int, tuple[type[CortiError], str]]] = {
    401: (CortiLoginFailed, "does not accept the access token: check the client, its secret and the tenant"),
    403: (CortiForbidden, "does not allow this: check the tenant name, the client's scopes and the account's products"),
    404: (CortiNotFound, "does not know what was asked for"),
    408: (CortiTimeout, "did not get the request in time"),
    409: (CortiDuplicate, "has this already"),
    429: (CortiThrottled, "takes no more requests: too many at once, or no credits left; check the balance"),
    504: (CortiTimeout, "did not answer in time"),
}
_REDIRECTED: Final = (CortiRefused, "redirects this request: the API URL must be the origin of the API itself")
_REFUSED: Final = (CortiRefused, "refuses this request")
_BROKEN: Final = (CortiUnavailable, "failed to answer")
_DUPLICATE: Final = (CortiDuplicate, "has this identifier reserved already")

_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PATH: Final = re.compile(r"[A-Za-z0-9_.\[\]/-]{1,80}")
_PATH_NAMES: Final = ("field", "pointer", "path", "property", "loc")
_SAYS_DUPLICATE: Final = re.compile(r"duplicate|already (exists|in use|used|reserved)|must be unique", re.IGNORECASE)
_OLD_DUPLICATE: Final = "A0017"


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> CortiError:
    """Name the error of an HTTP answer that is no success."""
    said = _object_in(body)
    kind, meaning = _meaning(status, said)
    named = ", ".join([f"status {status}", *_particulars(said, headers)])
    return kind(f"Corti {meaning} ({named})", retry_after=retry_after(headers))


def _object_in(body: bytes) -> Json:
    """Read the error's members, wherever its shape keeps them; a 401 has no body at all."""
    try:
        said = object_of(json_of(body))
    except CortiNonsense:
        return {}
    return {**said, **object_of(said.get("error"))}


def _meaning(status: int, said: Json) -> tuple[type[CortiError], str]:
    if status in _MEANING:
        return _MEANING[status]
    if status >= 500:  # noqa: PLR2004 - HTTP's classes of status codes
        return _BROKEN
    if status < 400:  # noqa: PLR2004 - the first HTTP error
        return _REDIRECTED
    told = f"{text_of(said.get('detail'))} {text_of(said.get('title'))} {text_of(said.get('details'))}"
    is_duplicate = text_of(said.get("id"), said.get("code")) == _OLD_DUPLICATE or _SAYS_DUPLICATE.search(told)
    return _DUPLICATE if is_duplicate else _REFUSED


def _particulars(said: Json, headers: Mapping[str, str]) -> list[str]:
    code = text_of(said.get("id"), said.get("code"), said.get("type"), said.get("error"))
    request = text_of(said.get("requestid"), said.get("requestId"))
    challenge = re.search(r'error="([a-z_]{1,40})"', headers.get("WWW-Authenticate", ""))
    found = [code] if _CODE.fullmatch(code) else []
    found += [challenge[1]] if challenge else []
    found += [f"request {request}"] if _CODE.fullmatch(request) else []
    return found + _refused_paths(said)


def _refused_paths(said: Json) -> list[str]:
    nested = object_of(said.get("details"))
    items = objects_of(said.get("validationErrors") or nested.get("validationErrors"))
    paths = [text_of(*(item.get(name) for name in _PATH_NAMES)) for item in items[:10]]
    return [f"refused member {path}" for path in paths if _PATH.fullmatch(path)]


def retry_after(headers: Mapping[str, str]) -> int | None:
    """Read Retry-After (seconds or a date), else X-RateLimit-Reset (seconds since 1970)."""
    after, reset = headers.get("Retry-After", "").strip(), headers.get("X-RateLimit-Reset", "").strip()
    if after.isascii() and after.isdigit():
        return int(after[:9])
    if after:
        return _seconds_until(after)
    if reset.isascii() and reset.isdigit():
        return max(0, int(reset[:12]) - int(clock.now().timestamp()))
    return None


def _seconds_until(date: str) -> int | None:
    try:
        left = parsedate_to_datetime(date) - clock.now()
    except (TypeError, ValueError):  # no date, or one without a zone
        return None
    return max(0, -(-left // timedelta(seconds=1)))
