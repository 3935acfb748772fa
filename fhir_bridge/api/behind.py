"""Behind a proxy: the path that the public URL has, and the address of whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from fhir_bridge.settings import Settings


def placed(served: WSGIApplication, settings: Settings) -> WSGIApplication:
    """Serve below the path of the public URL too, for a proxy may take it away or leave it.

    Who stands before a trusted proxy is taken from X-Forwarded-For, from its end as far as
    proxies are trusted: what is before that anybody can have written.
    """
    path = urlsplit(settings.public_url or "").path.rstrip("/")
    trusted = frozenset(settings.trusted_proxies)

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = environ.get("PATH_INFO", "")
        if path and (asked == path or asked.startswith(f"{path}/")):
            environ["PATH_INFO"] = asked[len(path) :] or "/"
        environ["REMOTE_ADDR"] = _asking(environ, trusted)
        return served(environ, start_response)

    return serve


def _asking(environ: WSGIEnvironment, trusted: frozenset[str]) -> str:
    address: str = environ.get("REMOTE_ADDR", "")
    said = [each.strip() for each in environ.get("HTTP_X_FORWARDED_FOR", "").split(",") if each.strip()]
    while address in trusted and said:
        address = said.pop()
    return address
