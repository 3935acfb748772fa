"""Moves REST requests to Corti: headers, the one retry layer, errors in our words (corti-api 1.2 to 1.5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import quote

import requests
import stamina

from fhir_bridge import clock, log, net
from fhir_bridge.corti.reading import json_of
from fhir_bridge.corti.refusals import refusal
from fhir_bridge.errors import CortiError, CortiNonsense, CortiThrottled, CortiTimeout, CortiUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fhir_bridge.corti.endpoint import Endpoint
    from fhir_bridge.corti.token import TokenSource

ATTEMPTS: Final = 4
_FIRST_WAIT: Final = 1.0  # doubled for each further attempt, give or take a tenth
_LONGEST_WAIT: Final = 60.0  # a longer Retry-After suspends the job rather than a thread
_MAX_ANSWER: Final = 64 * 2**20
_CHUNK: Final = 64 * 1024
_UNAUTHORIZED: Final = 401
_MULTIPLE_CHOICES: Final = 300

_again = stamina.RetryingCaller(attempts=ATTEMPTS, timeout=None, wait_initial=0, wait_max=0, wait_jitter=0)


@dataclass(frozen=True)
class Call:
    """One request. `route` is the path below /v2 with `{}` for each of `ids`; collections end in a slash.

    `repeat` says whether sending it twice does no more than sending it once.
    """

    method: str
    route: str
    ids: tuple[str, ...] = ()
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: object = None
    file: BinaryIO | None = None
    repeat: bool = True

    @property
    def path(self) -> str:
        """The path with its ids."""
        return self.route.format(*(quote(one, safe="") for one in self.ids))


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: its JSON, None when it has no body, and its Location."""

    status: int
    body: object
    location: str | None


class Transport:
    """Sends calls of one tenant to one Corti. Any number of threads may use it."""

    def __init__(self, endpoint: Endpoint, tokens: TokenSource, *, timeout: float = 30.0) -> None:
        self._base = f"{endpoint.api_url}/v2"
        self._tokens = tokens
        self._session = net.session(read_seconds=timeout, headers={"Tenant-Name": endpoint.tenant})

    def send(self, call: Call) -> Answer:
        """Send a call, again where that is safe, and return Corti's answer.

        Raises:
            CortiUnavailable: no answer; a call that may not be repeated may or may not have taken effect.
            CortiError: what Corti said against it.
        """
        return _again(_Pace(call), self._once, call)

    def stream(self, call: Call) -> Iterator[bytes]:
        """Return the body of an answer in chunks."""
        with self._authorized(call) as response:
            yield from _chunks(response)

    def _once(self, call: Call) -> Answer:
        with self._authorized(call) as response:
            content = _whole(response)
        return Answer(response.status_code, json_of(content) if content else None, response.headers.get("Location"))

    def _authorized(self, call: Call) -> requests.Response:
        """Get a success, with a second token when the first is refused."""
        token = self._tokens.bearer()
        response = self._exchange(call, token)
        if response.status_code == _UNAUTHORIZED:
            response.close()
            response = self._exchange(call, self._tokens.renew(token))
        if response.status_code >= _MULTIPLE_CHOICES:
            with response:
                raise refusal(response.status_code, response.headers, _whole(response))
        return response

    def _exchange(self, call: Call, token: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        if call.file is not None:
            call.file.seek(0)
            headers["Content-Type"] = "application/octet-stream"
        started, status = clock.monotonic(), 0
        try:
            response = self._session.request(
                call.method,
                self._base + call.path,
                params=call.params,
                json=call.body,
                data=call.file,
                headers=headers,
                allow_redirects=False,  # a redirected POST loses its body
                stream=True,
            )
            status = response.status_code
        except requests.RequestException as exc:
            raise _unreachable(exc) from exc
        finally:
            ms = round((clock.monotonic() - started) * 1000)
            log.event("corti.request", method=call.method, route=call.route, status=status, ms=ms)
        return response


def _unreachable(exc: requests.RequestException) -> CortiError:
    if isinstance(exc, requests.Timeout):
        return CortiTimeout("Corti did not answer in time")
    return CortiUnavailable("Corti cannot be reached")


def _chunks(response: requests.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_content(_CHUNK)
    except requests.RequestException as exc:
        raise CortiUnavailable("Corti broke off its answer") from exc


def _whole(response: requests.Response) -> bytes:
    content = bytearray()
    for chunk in _chunks(response):
        content += chunk
        if len(content) > _MAX_ANSWER:
            raise CortiNonsense("Corti's answer is larger than any it should give")
    return bytes(content)


class _Pace:
    """stamina's hook for one call: whether to send it again. It waits through our clock, so stamina need not."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._tries = 0

    def __call__(self, exc: Exception) -> float | bool:
        self._tries += 1
        if self._tries == ATTEMPTS or not self._may_repeat(exc):
            return False
        asked = getattr(exc, "retry_after", None)
        backoff = _FIRST_WAIT * 2 ** (self._tries - 1) * (0.9 + 0.2 * clock.random())
        wait = backoff if asked is None else float(asked)
        if wait > _LONGEST_WAIT:
            return False
        clock.sleep(wait)
        return 0.0

    def _may_repeat(self, exc: Exception) -> bool:
        """429 says that nothing was done; any other outage leaves open whether something was."""
        return isinstance(exc, CortiThrottled) or (self._call.repeat and isinstance(exc, CortiUnavailable))
