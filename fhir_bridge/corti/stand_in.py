"""Whether a Corti is the local sandbox, which says so itself: what it hears is then not Corti's to answer for."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import requests

from fhir_bridge import net
from fhir_bridge.corti.reading import json_of
from fhir_bridge.errors import CortiNonsense, CortiUnavailable

if TYPE_CHECKING:
    from fhir_bridge.corti.endpoint import Endpoint

_SECONDS: Final = 5.0
_LARGEST: Final = 4096
_LONGEST: Final = 64


def recogniser(endpoint: Endpoint) -> str | None:
    """Ask a Corti that is not at Corti's own address what it listens with; None: it is no sandbox.

    Raises:
        CortiUnavailable: nobody answers.
    """
    url = f"{endpoint.api_url}/health"
    try:
        with (
            net.session(read_seconds=_SECONDS) as session,
            session.get(url, allow_redirects=False, stream=True) as answer,
        ):
            body = next(answer.iter_content(_LARGEST), b"")
    except requests.RequestException as exc:
        raise CortiUnavailable("Corti does not say what it is") from exc
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise CortiUnavailable("Corti does not say what it is")
    return _named(body)


def _named(body: bytes) -> str | None:
    try:
        said = json_of(body)
    except CortiNonsense:
        return None
    match said:
        case {"sandbox": True, "recogniser": str(name)} if name:
            return re.sub(r"[^ -~]", "", name)[:_LONGEST]
    return None
