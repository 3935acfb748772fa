"""Real servers on loopback that answer as Corti does, told by each test what to say."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)

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
                with suppress(OSError):  # a client that did not wait
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


class Peer:
    """One accepted connection of the WebSocket server."""

    def __init__(self, sock: socket.socket, protocol: WSConnection, request: Request) -> None:
        self.target, self.headers = request.target, dict(request.extra_headers)
        self._sock, self._protocol = sock, protocol
        self._events: list[Event] = []

    def hear(self) -> Event | None:
        """The next event; None when the client is gone. Pings are answered."""
        while not self._events:
            chunk = self._receive()
            if not chunk:
                return None
            self._protocol.receive_data(chunk)
            self._events += self._protocol.events()
        event = self._events.pop(0)
        if isinstance(event, Ping):
            self.send(event.response())
        return event

    def _receive(self) -> bytes:
        try:
            return self._sock.recv(65_536)
        except OSError:
            return b""

    def hear_text(self) -> dict:
        while not isinstance(event := self.hear(), TextMessage):
            assert event is not None
        return json.loads(event.data)

    def say(self, kind: str, **body: object) -> None:
        self.send(TextMessage(data=json.dumps({"type": kind, **body})))

    def send(self, event: Event) -> None:
        self.send_bytes(self._protocol.send(event))

    def send_bytes(self, content: bytes) -> None:
        with suppress(OSError):
            self._sock.sendall(content)

    def accept(self) -> dict:
        config = self.hear_text()
        self.say("CONFIG_ACCEPTED")
        return config

    def close(self, code: int = 1000) -> None:
        self.send(CloseConnection(code))

    def reset(self) -> None:
        """Break the connection off as a network does."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


class WebSockets:
    """A WebSocket server; each connection is played by the scene that is set then."""

    def __init__(self) -> None:
        self.scene = lambda _: None
        self.reject: int | None = None
        self.tls: ssl.SSLContext | None = None
        self.targets: list[str] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(0.02)
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.failures: list[BaseException] = []
        self.port = self._listening.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/audio-bridge/v2/interactions/i1/streams?tenant-name=base"

    def _accept(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                accepted, _ = self._listening.accept()
                accepted.settimeout(10)
                self._threads.append(threading.Thread(target=self._serve, args=(accepted,)))
                self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        if self.tls is not None:
            try:
                sock = self.tls.wrap_socket(sock, server_side=True)
            except OSError:  # a client that does not trust us
                sock.close()
                return
        with sock:
            protocol = WSConnection(ConnectionType.SERVER)
            requests: list[Event] = []
            while not requests:
                protocol.receive_data(sock.recv(65_536))
                requests = list(protocol.events())
            self.targets.append(requests[0].target)
            if self.reject is not None:
                sock.sendall(protocol.send(RejectConnection(status_code=self.reject)))
                return
            sock.sendall(protocol.send(AcceptConnection()))
            try:
                self.scene(Peer(sock, protocol, requests[0]))
            except AssertionError as exc:
                self.failures.append(exc)

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._listening.close()
        assert self.failures == []


@pytest.fixture
def websockets():
    server = WebSockets()
    yield server
    server.close()


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that vouches for itself: key and certificate in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "local")])
    today = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = tmp_path / "local.pem"
    file.write_bytes(private + signed.public_bytes(Encoding.PEM))
    return file


@pytest.fixture
def secure_websockets(websockets, certificate):
    websockets.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    websockets.tls.load_cert_chain(certificate)
    websockets.url = websockets.url.replace("ws://", "wss://")
    return websockets
