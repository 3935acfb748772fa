"""Opens a WebSocket to Corti: a new token each time, which appears in no log and no exception (corti-api 3.1)."""

from __future__ import annotations

import functools
import logging
import socket
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

import websocket
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from fhir_bridge.corti.endpoint import with_token
from fhir_bridge.corti.refusals import refusal
from fhir_bridge.errors import CortiError, CortiTimeout, CortiUnavailable

if TYPE_CHECKING:
    from fhir_bridge.corti.stream import Patience
    from fhir_bridge.corti.token import TokenSource

MAX_MESSAGE: Final = 512 * 1024
BROKEN: Final = (websocket.WebSocketException, OSError, ValueError)


class _NoTrace(logging.Filter):
    """Silences websocket-client: its records hold the URL with its token, and its traces what was said."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - none of them is fit to be read
        return False


logging.getLogger("websocket").addFilter(_NoTrace())


class _Frames(websocket.frame_buffer):
    """Refuses a frame by its header before memory is given to it."""

    def recv_length(self) -> None:
        super().recv_length()
        if (self.length or 0) > MAX_MESSAGE:
            raise websocket.WebSocketProtocolException("frame too long")


class _Fragments(websocket.continuous_frame):
    """Refuses a message that grows beyond the same bound in fragments."""

    def add(self, frame: websocket.ABNF) -> None:
        super().add(frame)
        if self.cont_data and len(self.cont_data[1]) > MAX_MESSAGE:
            raise websocket.WebSocketProtocolException("message too long")


def open_websocket(url: str, tokens: TokenSource, patience: Patience) -> websocket.WebSocket:
    """Connect with a new token.

    Raises:
        CortiError: no token, no connection, or an upgrade that Corti refuses (401, 403, 404).
    """
    made = websocket.WebSocket()
    made.frame_buffer = _Frames(made._recv, False)  # noqa: FBT003, SLF001 - as WebSocket itself makes it
    made.cont_frame = _Fragments(False, False)  # noqa: FBT003 - the same
    problem = _connect(made, with_token(url, tokens.fresh()), patience.connect)
    if problem is not None:
        raise problem  # here, out of reach of the URL with its token and of what websocket-client says of it
    made.settimeout(patience.stall)
    return made


def _connect(made: websocket.WebSocket, url: str, timeout: float) -> CortiError | None:
    try:
        # A ready socket keeps websocket-client from asking the machine's environment for proxies and
        # certificates; a redirect would carry the token elsewhere.
        dialled = _dial(urlsplit(url), timeout)
        made.connect(url, socket=dialled, suppress_origin=True, redirect_limit=0)  # type: ignore[no-untyped-call]  # ships no types
    except websocket.WebSocketBadStatusException as exc:
        return refusal(exc.status_code, CaseInsensitiveDict(exc.resp_headers or {}), exc.resp_body or b"")
    except (websocket.WebSocketTimeoutException, TimeoutError):
        return CortiTimeout("Corti did not open the stream in time")
    except BROKEN:
        return CortiUnavailable("Corti's stream cannot be reached")
    return None


def _dial(url: SplitResult, timeout: float) -> socket.socket:
    is_secure = url.scheme == "wss"
    dialled = socket.create_connection((url.hostname, url.port or (443 if is_secure else 80)), timeout)
    dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not is_secure:
        return dialled
    try:
        return _tls().wrap_socket(dialled, server_hostname=url.hostname)
    except OSError:
        dialled.close()
        raise


@functools.cache
def _tls() -> ssl.SSLContext:
    """Trust whom the REST side trusts; TLS 1.2 at least is Python's default."""
    return ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
