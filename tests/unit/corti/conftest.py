"""Real servers on loopback that answer as Corti does, told by each test what to say."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from fhir_bridge import clock
from fhir_bridge.corti.client import CortiClient
from fhir_bridge.corti.endpoint import endpoint_of
from fhir_bridge.corti.token import TokenSource


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def form(self):
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    @property
    def query(self):
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}


@dataclass
class Reply:
    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    breaks: bool = False  # the connection, after the request was read

    @property
    def content(self) -> bytes:
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Http:
    """A server that gives the replies it was told, the last one for ever, and keeps what it was asked."""

    def __init__(self) -> None:
        self.tokens: list[Reply] = []
        self.replies: list[Reply] = []
        self.seen: list[Seen] = []
        self.logins: list[Seen] = []
        self.token_life = 300
        self.before_token = self.before_reply = lambda: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def says(self, *replies: Reply) -> None:
        self.replies = list(replies)

    def reply_to(self, seen: Seen) -> Reply:
        if seen.path.startswith("/realms/"):
            self.logins.append(seen)
            self.before_token()
            token = {
                "access_token": f"token-{len(self.logins)}",
                "expires_in": self.token_life,
                "refresh_expires_in": 0,
            }
            return _next(self.tokens) or Reply(body=token)
        self.seen.append(seen)
        self.before_reply()
        return _next(self.replies) or Reply(status=404)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        http = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                reply = http.reply_to(Seen(self.command, self.path, dict(self.headers), body))
                if reply.breaks:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in ({"Content-Length": str(len(reply.content))} | reply.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.content)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _next(replies: list[Reply]) -> Reply | None:
    if len(replies) > 1:
        return replies.pop(0)
    return replies[0] if replies else None


class FakeClock(clock.Clock):
    """Time that passes only when someone sleeps, and remembers each sleep."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.slept: list[float] = []

    def now(self):
        return datetime(2026, 11, 22, 8, 0, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self):
        return 1_000.0 + self.passed

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.passed += seconds

    def random(self):
        return 0.5


@pytest.fixture
def http():
    server = Http()
    yield server
    server.close()


@pytest.fixture
def fake_clock():
    with clock.use(FakeClock()) as source:
        yield source


@pytest.fixture
def endpoint(http):
    return endpoint_of("eu", "base", http.url, http.url)


@pytest.fixture
def tokens(endpoint):
    return TokenSource(endpoint, "client-1", "s3cret&=+ü", timeout=5)


@pytest.fixture
def corti(endpoint, tokens):
    return CortiClient(endpoint, tokens, timeout=5)


@pytest.fixture
def reply():
    return Reply
