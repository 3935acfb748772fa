"""Corti's error shapes (corti-api 1.4): raised anywhere in the sandbox, turned into a response here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from flask import Response, jsonify

if TYPE_CHECKING:
    from pydantic import ValidationError

    from fhir_bridge.sandbox.shapes import Json
    from fhir_bridge.sandbox.switches import Switches

TYPES = {
    400: "bad_request",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    413: "payload_too_large",
    429: "too_many_requests",
    500: "internal_error",
    503: "service_unavailable",
    504: "timeout",
}
OLD_IDS = {400: "A0003", 403: "A0001", 404: "A0007", 409: "A0017", 429: "A0021", 500: "A0010", 504: "A0002"}


@dataclass
class Refusal(Exception):
    """An answer that is no success; `fields` become `validationErrors`."""

    status: int
    detail: str
    fields: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Status and reason."""
        return f"{self.status} {self.detail}"


def unauthorised(reason: str) -> Refusal:
    """401 whose only words are in WWW-Authenticate."""
    return Refusal(
        401, reason, headers={"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{reason}"'}
    )


def refusal_of(error: ValidationError, switches: Switches) -> Refusal:
    """A body that does not have the shape: 400, or the 500 that was seen for missing fields."""
    items = error.errors(include_url=False, include_input=False)
    fields = tuple((".".join(str(part) for part in item["loc"]), item["type"]) for item in items)
    if switches.missing_field_status == 500 and any(kind == "missing" for _, kind in fields):  # noqa: PLR2004 - HTTP
        return Refusal(500, "unexpected error")
    return Refusal(400, "invalid request body", fields)


def response_of(refusal: Refusal, switches: Switches) -> Response:
    """The HTTP answer in the form that is switched on."""
    if refusal.status == 401:  # noqa: PLR2004 - HTTP
        return Response(status=401, headers=refusal.headers)
    body = _body_2025(refusal) if switches.error_form == "2025" else _body_2026(refusal)
    response = jsonify(body)
    response.status_code = refusal.status
    response.headers.update(refusal.headers)
    return response


def _body_2026(refusal: Refusal) -> Json:
    body: Json = {
        "requestid": str(uuid4()),
        "status": refusal.status,
        "type": TYPES.get(refusal.status, "error"),
        "detail": refusal.detail,
    }
    if refusal.fields:
        body["validationErrors"] = [{"field": at, "reason": why} for at, why in refusal.fields]
    return body


def _body_2025(refusal: Refusal) -> Json:
    return {
        "requestid": str(uuid4()),
        "type": "https://docs.corti.ai/about/errors",
        "id": OLD_IDS.get(refusal.status, "A0010"),
        "status": refusal.status,
        "title": TYPES.get(refusal.status, "error"),
        "details": refusal.detail,
        "instance": "",
    }
