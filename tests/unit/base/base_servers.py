"""Real servers on loopback that behave well, badly or not at all."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Talk = Callable[[socket.socket, threading.Event], None]

LONGEST = 30.0


@dataclass
class Server:
    host: str
    port: int
    heads: list[str] = field(default_factory=list)
    connections: int = 0


@contextmanager
def server(
    talk: Talk, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """Accept connections, read each one's head, and let `talk` answer."""
    stop = threading.Event()
    listening = socket.create_server((host, port))
    listening.settimeout(0.05)
    made = Server(host, listening.getsockname()[1])

    def accept() -> None:
        ends = time.monotonic() + LONGEST
        while not stop.is_set() and time.monotonic() < ends:
            with suppress(OSError):  # nobody yet, or a client that broke off
                connection, _ = listening.accept()
                made.connections += 1
                with connection:
                    connection.settimeout(LONGEST)
                    converse(connection)

    def converse(connection: socket.socket) -> None:
        with suppress(OSError), tls.wrap_socket(connection, server_side=True) if tls else connection as spoken:
            made.heads.append(spoken.recv(65536).decode())
            talk(spoken, stop)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join()
        listening.close()


def says(body: bytes, *, status: str = "200 OK", headers: str = "") -> Talk:
    def talk(connection: socket.socket, _stop: threading.Event) -> None:
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

    return talk


def silent(_connection: socket.socket, stop: threading.Event) -> None:
    stop.wait(LONGEST)


def dripping(text: bytes) -> Talk:
    """One byte at a time: no single wait is long, the whole is."""

    def talk(connection: socket.socket, stop: threading.Event) -> None:
        for byte in text:
            connection.sendall(bytes([byte]))
            if stop.wait(0.05):
                break

    return talk


def certificate_for(name: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Make a server certificate for `name`; return the server's side and the file a client has to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "server.pem", folder / "server.key"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, secret)
    return context, chain
