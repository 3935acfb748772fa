"""What the entries of a Bundle ask: method, path, query and conditions, read strictly."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, cast
from urllib.parse import parse_qsl, unquote

from fhir_bridge.errors import (
    BadParameter,
    BridgeError,
    Invalid,
    Issue,
    Malformed,
    MethodNotAllowed,
    NoSuchRoute,
    NotSupported,
    TooLarge,
)
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.tree import each, only, text
from fhir_bridge.fhir.rest.served import BY_TYPE, offers
from fhir_bridge.verbs.conditional import pairs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.fhir.rest.served import Interaction
    from fhir_bridge.verbs.conditional import Pairs

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
READING: Final = frozenset({"GET", "HEAD"})

_INTERACTION: Final[dict[str, Interaction]] = {
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_PLACE: Final = re.compile(r"(?P<type>[A-Z][A-Za-z]+)(?:/(?P<id>[A-Za-z0-9.\-]{1,64}))?")
_VERSION: Final = re.compile(r'(?:W/)?"?([0-9]{1,9})"?', re.ASCII)
# Which conditions are read with which methods; http.html#transaction maps headers to them.
_CONDITIONS: Final = {
    "ifNoneMatch": READING,
    "ifModifiedSince": READING,
    "ifMatch": frozenset({"PUT", "PATCH", "DELETE"}),
    "ifNoneExist": frozenset({"POST"}),
}
_PATCHES: Final = frozenset({"Parameters", "Binary"})


@dataclass(frozen=True)
class Ask:
    """One entry. `json` is the resource as sent; of what is read, `path` is all that `request.url` names."""

    index: int
    method: Method
    path: str
    query: Pairs = ()
    full_url: str | None = None
    json: Json | None = None
    expect: int | None = None  # ifMatch
    unless: Pairs = ()  # ifNoneExist, or the query of a POST
    known: tuple[str | None, str | None] = (None, None)  # ifNoneMatch, ifModifiedSince

    @property
    def type(self) -> str:
        """The resource type that is written."""
        return self.path.partition("/")[0]

    @property
    def id(self) -> str | None:
        """The id that is written, if the URL names it."""
        return self.path.partition("/")[2] or None

    @property
    def at(self) -> str:
        """Where the entry stands."""
        return f"Bundle.entry[{self.index}]"


def entries_of(bundle: Json, *, most: int) -> list[Json]:
    """Return the entries of a batch or transaction, whose resources are still to be judged.

    Raises:
        NotSupported: a Bundle of another type. TooLarge: more than `most` entries (ruling 19).
        Malformed, Invalid: no Bundle of this type.
    """
    if bundle.get("type") not in {"batch", "transaction"}:
        raise NotSupported("Only a Bundle of type batch or transaction is taken here", at="Bundle.type")
    entries = bundle.get("entry", [])
    if isinstance(entries, list) and len(entries) > most:
        raise TooLarge(f"A Bundle has at most {most} entries here", at="Bundle.entry")
    checked(bundle, entries=False)
    return each(bundle, "entry")


def ask_of(index: int, entry: Json, *, base: str) -> Ask:
    """Read one entry.

    Raises:
        NoSuchRoute, MethodNotAllowed: what it asks for is not served.
        Malformed, Invalid, NotSupported, BadParameter: it cannot be read.
    """
    request = only(entry, "request")
    method, url = cast("Method", text(request, "method")), text(request, "url") or ""
    path, query = _parted(url, base)
    ask = Ask(index, method, path, query, text(entry, "fullUrl"))
    with placed(ask, "request.url"):
        ask = _with_conditions(ask, request)
        return ask if method in READING else _writing(ask, only(entry, "resource"))


@contextmanager
def placed(ask: Ask, path: str = "") -> Iterator[None]:
    """Say of an entry's refusal where in the Bundle its reason stands."""
    try:
        yield
    except BridgeError as exc:
        exc.issues = tuple(replace(issue, at=_placed(issue, ask, path)) for issue in exc.issues)
        raise


def _placed(issue: Issue, ask: Ask, path: str) -> str:
    at = issue.at or ""
    if at.startswith("Bundle."):
        return at
    kind = text(ask.json or {}, "resourceType")
    if kind and re.match(rf"{kind}\b", at):
        return f"{ask.at}.resource{at.removeprefix(kind)}"
    return f"{ask.at}.{path}" if path else ask.at


def _parted(url: str, base: str) -> tuple[str, Pairs]:
    """Cut a URL, relative or absolute on this server, into path and query."""
    path, _, query = url.removeprefix(f"{base}/").removeprefix("/").partition("?")
    return unquote(path.rstrip("/")), tuple(parse_qsl(query, keep_blank_values=True))


def _with_conditions(ask: Ask, request: Json) -> Ask:
    for name, methods in _CONDITIONS.items():
        if name in request and ask.method not in methods:
            raise NotSupported(f"{name} does not go with {ask.method}", at=f"{ask.at}.request.{name}")
    expect, unless = text(request, "ifMatch"), text(request, "ifNoneExist")
    found = _VERSION.fullmatch(expect.strip()) if expect is not None else None
    if expect is not None and found is None:
        raise BadParameter('ifMatch names a version, such as W/"3"', at=f"{ask.at}.request.ifMatch")
    return replace(
        ask,
        expect=int(found[1]) if found else None,
        unless=pairs_of(unless, of=ask.path) if unless is not None else ask.query if ask.method == "POST" else (),
        known=(text(request, "ifNoneMatch"), text(request, "ifModifiedSince")),
    )


def _writing(ask: Ask, resource: Json) -> Ask:
    """Judge what is to be written, and how it is named."""
    place = _PLACE.fullmatch(ask.path)
    if place is None:
        raise Malformed("request.url is Type, Type/id or Type?query here")
    _require_served(ask)
    named = bool(place["id"]) + bool(ask.query)
    if (ask.method == "POST" and place["id"]) or (ask.method != "POST" and named != 1):
        raise Malformed("POST names a type; PUT, PATCH and DELETE name an id, or criteria")
    if ask.method == "DELETE":
        return ask
    kind = text(resource, "resourceType")
    if ask.method == "PATCH":
        if kind not in _PATCHES:
            raise Malformed("A patch is Parameters, or a Binary with a JSON Patch", at=f"{ask.at}.resource")
    elif kind != place["type"]:
        raise Malformed("request.url names the type of the entry's resource")
    elif place["id"] and resource.get("id") != place["id"]:
        wrong = "The id of the resource has to be the id in request.url"
        raise Invalid(wrong, issues=(Issue("value", wrong, f"{ask.at}.resource.id"),))
    return replace(ask, json=resource)


def _require_served(ask: Ask) -> None:
    if ask.type not in BY_TYPE:
        raise NoSuchRoute("This resource type is not served here: see /fhir/metadata")
    if not offers(ask.type, _INTERACTION[ask.method]):
        allow = tuple(method for method, interaction in _INTERACTION.items() if offers(ask.type, interaction))
        raise MethodNotAllowed(f"{ask.type} has no {_INTERACTION[ask.method]} here: see /fhir/metadata", allow=allow)
