"""What may stand in a path: no type or id is `_history`, `_search` or `$operation`; those have their own methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.routing import BaseConverter

if TYPE_CHECKING:
    from flask import Flask


class Id(BaseConverter):
    """An id (http://hl7.org/fhir/R4/datatypes.html#id)."""

    regex = r"[A-Za-z0-9.\-]{1,64}"


class Name(BaseConverter):
    """What a place without a converter takes."""

    regex = r"[^/_$][^/]*"


def learn(app: Flask) -> None:
    """Let routes say `<id:id_>` where a type's own route would swallow a path of all types."""
    app.url_map.converters |= {"id": Id, "default": Name}
