"""Outgoing HTTP: one session factory with timeouts, and the guard against SSRF (security.md, row E; ruling 26)."""

from __future__ import annotations

import io
import ipaddress
import re
import socket
import ssl
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from fhir_bridge import clock
from fhir_bridge.errors import BusinessRule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from urllib.parse import SplitResult

CONNECT_SECONDS: Final = 10.0
_HTTPS: Final = 443
_PIECE: Final = 64 * 1024
_SAFE: Final = re.compile(r"[!-\[\]-~]+")  # printable ASCII without space and backslash
# All that is handed out to networks today (RFC 4291 section 2.4). Outside lie NAT64, mapped and site-local addresses.
_UNICAST: Final = ipaddress.ip_network("2000::/3")
# Addresses that lead to another one of the sender's choice, or to nowhere, and that not every Python knows as special.
_NEVER: Final = tuple(
    ipaddress.ip_network(each) for each in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20")
)


class _Timeouts(HTTPAdapter):
    """Gives every request a timeout; retries belong to the caller's one layer."""

    def __init__(self, read_seconds: float) -> None:
        self._timeout = (CONNECT_SECONDS, read_seconds)
        super().__init__(pool_maxsize=32)

    def send(  # type: ignore[override]  # requests passes these by keyword only
        self, request: requests.PreparedRequest, **options: object
    ) -> requests.Response:
        options["timeout"] = options.get("timeout") or self._timeout
        return super().send(request, **options)  # type: ignore[arg-type]  # what requests gave us goes on unchanged


def session(*, read_seconds: float = 30.0, headers: Mapping[str, str] | None = None) -> requests.Session:
    """Make a session that never waits for ever, ignores proxies and .netrc of the machine."""
    made = requests.Session()
    made.trust_env = False
    made.headers.update(headers or {})
    for scheme in ("https://", "http://"):
        made.mount(scheme, _Timeouts(read_seconds))
    return made


@dataclass(frozen=True)
class Answer:
    """What a stranger's URL answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Form:
    """What is posted: fields, and the Authorization header that goes with them."""

    fields: Mapping[str, str] = field(repr=False)
    authorization: str | None = field(default=None, repr=False)


def public_https(url: str, *, allow_private: bool = False, at: str | None = None) -> str:
    """Return `url` when it is one the bridge may fetch for a stranger.

    Raises:
        BusinessRule: not https on port 443, a user part, or a host that resolves to a
            private, loopback, link-local or otherwise special address.
    """
    _place(url, allow_private=allow_private, at=at)
    return url


def fetch(
    url: str,
    *,
    limit: int,
    seconds: float,
    accept: str = "*/*",
    allow_private: bool = False,
    at: str | None = None,
    form: Form | None = None,
) -> Answer:
    """GET a URL that a stranger gave, or POST `form` to it, when `public_https` allows it.

    The name is resolved once and the connection goes to the very address that was judged,
    whatever the name means a moment later. A redirect is not followed. `seconds` is the
    time for everything, `limit` the largest body.

    Raises:
        BusinessRule: the URL is refused, or its answer is late, broken or too large.
    """
    place = _place(url, allow_private=allow_private, at=at)
    request = _request(place, accept, form)
    with _translated(at), _asked(place, clock.monotonic() + seconds, request) as response:
        answer = Answer(response.status, CaseInsensitiveDict(response.getheaders()), response.read(limit + 1))
    if len(answer.body) > limit:
        raise BusinessRule("The URL answers with more than is read", at=at)
    return answer


def download(
    url: str, write: Callable[[bytes], object], *, seconds: float, allow_private: bool = False, at: str | None = None
) -> None:
    """GET a URL under the rules of `fetch`, and hand its body piece by piece to `write`, which may refuse more.

    Raises:
        BusinessRule: the URL is refused, does not answer 200, or its answer is late or broken off.
    """
    place = _place(url, allow_private=allow_private, at=at)
    with _translated(at), _asked(place, clock.monotonic() + seconds, _request(place, "*/*", None)) as response:
        if response.status != HTTPStatus.OK:
            raise BusinessRule(f"The URL answers with status {response.status}", at=at)
        while piece := response.read(_PIECE):
            write(piece)
        if response.length:
            raise HTTPException("broken off")


@contextmanager
def _translated(at: str | None) -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException) as exc:
        raise BusinessRule("The URL does not answer in time, or not with HTTP", at=at) from exc


@dataclass(frozen=True)
class _Place:
    """Where a URL leads: its addresses were judged and are the only ones connected to."""

    parts: SplitResult
    addresses: tuple[str, ...]

    @property
    def host(self) -> str:
        return self.parts.hostname or ""

    @property
    def port(self) -> int:
        return self.parts.port or (_HTTPS if self.parts.scheme == "https" else 80)


def _place(url: str, *, allow_private: bool, at: str | None) -> _Place:
    parts = _parts(url, at)
    if not allow_private and (parts.scheme != "https" or parts.port not in {None, _HTTPS}):
        raise BusinessRule("Only https URLs on port 443 are fetched", at=at)
    addresses = _addresses(parts.hostname or "", at)
    if not allow_private and not all(map(_is_public, addresses)):
        raise BusinessRule("The URL names a host that is not on the public internet", at=at)
    return _Place(parts, addresses)


def _parts(url: str, at: str | None) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise BusinessRule("The URL cannot be read", at=at) from exc
    is_web = parts.scheme in {"https", "http"} and parts.hostname and port != 0
    if not is_web or "@" in parts.netloc or not _SAFE.fullmatch(url):
        raise BusinessRule("Only URLs with https, a host and no user part are fetched", at=at)
    return parts


def _addresses(host: str, at: str | None) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, _HTTPS, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise BusinessRule("The host of the URL cannot be resolved", at=at) from exc
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    if any(found in network for network in _NEVER):
        return False
    return found.is_global and not found.is_multicast and (found.version == 4 or found in _UNICAST)  # noqa: PLR2004 - IPv4


def _request(place: _Place, accept: str, form: Form | None) -> bytes:
    target = place.parts._replace(scheme="", netloc="", fragment="").geturl()
    head = f"{'POST' if form else 'GET'} {target if target.startswith('/') else '/' + target} HTTP/1.1\r\n"
    head += f"Host: {place.parts.netloc}\r\nAccept: {accept}\r\nAccept-Encoding: identity\r\nConnection: close\r\n"
    if form is None:
        return f"{head}\r\n".encode()
    body = urlencode(form.fields)
    head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
    head += f"Authorization: {form.authorization}\r\n" if form.authorization else ""
    return f"{head}\r\n{body}".encode()


@contextmanager
def _asked(place: _Place, deadline: float, request: bytes) -> Iterator[HTTPResponse]:
    with _connected(place, deadline) as connection:
        connection.settimeout(_left(deadline))
        connection.sendall(request)
        response = HTTPResponse(_Timed(connection, deadline), method="GET")  # type: ignore[arg-type]  # it asks for makefile only
        response.begin()
        yield response


def _connected(place: _Place, deadline: float) -> socket.socket:
    plain = _first_open(place, deadline)
    if place.parts.scheme == "http":
        return plain
    trust = ssl.create_default_context()
    trust.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    with plain:  # it is emptied by the wrapping, and closed when that fails
        plain.settimeout(_left(deadline))
        return trust.wrap_socket(plain, server_hostname=place.host)


def _first_open(place: _Place, deadline: float) -> socket.socket:
    *others, last = place.addresses
    for address in others:
        with suppress(OSError):
            return socket.create_connection((address, place.port), min(CONNECT_SECONDS, _left(deadline)))
    return socket.create_connection((last, place.port), min(CONNECT_SECONDS, _left(deadline)))


def _left(deadline: float) -> float:
    seconds = deadline - clock.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


class _Timed(io.RawIOBase):
    """Reads a connection until a moment, however slowly its bytes drip."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        super().__init__()
        self._connection = connection
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the buffer BufferedReader brings
        self._connection.settimeout(_left(self._deadline))
        return self._connection.recv_into(buffer)
