"""What may stand in a path: no type or id is `_history`, `_search` or `$operation`; those have their own methods.

A slash at the end means nothing (http://hl7.org/fhir/http.html#general): a redirect would
lose the body of a POST.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from werkzeug.routing import BaseConverter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask

_BASE: Final = "/fhir/"


class Id(BaseConverter):
    """An id (http://hl7.org/fhir/R4/datatypes.html#id)."""

    regex = r"[A-Za-z0-9.\-]{1,64}"


class Name(BaseConverter):
    """What a place without a converter takes."""

    regex = r"[^/_$][^/]*"


def learn(app: Flask) -> None:
    """Let routes say `<id:id_>` where a type's own route would swallow a path of all types."""
    app.url_map.converters |= {"id": Id, "default": Name}
    app.wsgi_app = _without_last_slash(app.wsgi_app)  # type: ignore[method-assign,assignment]  # as Flask says


def _without_last_slash(served: WSGIApplication) -> WSGIApplication:
    def call(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith(_BASE) and path.endswith("/"):
            environ["PATH_INFO"] = path[:-1]
        return served(environ, start)

    return call
