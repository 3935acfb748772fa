"""Where the web side listens, and the public URL that follows from it (ruling 29)."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from fhir_bridge.settings import Settings

HOST: Final = "127.0.0.1"
PORT: Final = 8080
BACKLOG: Final = 1024
LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a client on this machine uses instead
_REASONS: Final = {
    errno.EADDRINUSE: "it is in use; name another, or 0 for any free one",
    errno.EACCES: "it may not be used by this account; name one above 1023",
    errno.EADDRNOTAVAIL: "--host is no address of this machine",
}

host_option = click.option("--host", default=HOST, show_default=True, help="Address to listen on.")
port_option = click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes any free port."
)


def bound(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        click.ClickException: the address or port cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as exc:
        reason = _REASONS.get(exc.errno or 0, "--host is no address of this machine")
        raise click.ClickException(f"--port {port} on {host}: {reason}") from exc


def url_of(listener: socket.socket, settings: Settings) -> str:
    """Return the URL clients use: as set, else from the bound address."""
    if settings.public_url is not None:
        return settings.public_url.rstrip("/")
    host, port = listener.getsockname()[:2]
    host = _EVERYWHERE.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
