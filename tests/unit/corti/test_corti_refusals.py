from datetime import UTC, datetime

import pytest
from requests.structures import CaseInsensitiveDict

from fhir_bridge import clock
from fhir_bridge.corti.refusals import refusal, retry_after
from fhir_bridge.errors import (
    CortiDuplicate,
    CortiForbidden,
    CortiLoginFailed,
    CortiNotFound,
    CortiRefused,
    CortiThrottled,
    CortiTimeout,
    CortiUnavailable,
)

NEW = b"""{"requestid":"5f0c9b8e-1111","status":400,"type":"bad_request","detail":"json: cannot unmarshal Anna",
"validationErrors":[{"field":"encounter.type","reason":"required"},{"pointer":"/patient/gender"},{"reason":"Anna"}]}"""
OLD = b"""{"requestid":"q1","id":"A0003","type":"t t","status":400,"title":"Bad","details":"Anna","instance":"/x"}"""
AGENTIC = b"""{"error":{"code":"VALIDATION_FAILED","message":"Anna","requestId":"q2",
"details":{"validationErrors":[{"field":"text","reason":"Anna"}]}}}"""


def error(status, body=b"", **headers):
    return refusal(
        status, CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()}), body
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (307, CortiRefused),
        (400, CortiRefused),
        (401, CortiLoginFailed),
        (403, CortiForbidden),
        (404, CortiNotFound),
        (408, CortiTimeout),
        (409, CortiDuplicate),
        (422, CortiRefused),
        (429, CortiThrottled),
        (500, CortiUnavailable),
        (502, CortiUnavailable),
        (503, CortiUnavailable),
        (504, CortiTimeout),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"<html>", NEW, OLD, AGENTIC, b"[]", b'{"error":"invalid_client"}', b'{"id":[]}']
)
def test_every_status_with_every_shape_of_error_becomes_one_of_ours(status, kind, body):
    told = error(status, body)

    assert type(told) is kind
    assert f"status {status}" in told.text
    assert "Anna" not in told.text


def test_what_helps_is_passed_on():
    assert error(400, NEW).text == (
        "Corti refuses this request (status 400, bad_request, request 5f0c9b8e-1111, "
        "refused member encounter.type, refused member /patient/gender)"
    )
    assert error(400, OLD).text == "Corti refuses this request (status 400, A0003, request q1)"
    assert error(422, AGENTIC).text.endswith("(status 422, VALIDATION_FAILED, request q2, refused member text)")


def test_a_401_has_no_body_and_says_why_in_a_header():
    told = error(401, WWW_Authenticate='Bearer error="invalid_token", error_description="for Anna"')

    assert told.text.endswith("(status 401, invalid_token)")


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"A0017","title":"Duplicate value"}',
        b'{"type":"bad_request","detail":"encounter.identifier already exists"}',
        b'{"detail":"identifier must be unique"}',
    ],
)
def test_a_reserved_identifier_is_a_duplicate(body):
    assert type(error(400, body)) is CortiDuplicate


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Sun, 22 Nov 2026 08:00:30 GMT"}, 30),
        ({"Retry-After": "Sun, 22 Nov 2026 07:00:00 GMT"}, 0),
        ({"Retry-After": "Sun, 22 Nov 2026 08:00:30 -0000"}, None),
        ({"X-RateLimit-Reset": "1795334410"}, 10),
        ({"X-RateLimit-Reset": "soon"}, None),
        ({"X-RateLimit-Reset": "1"}, 0),
        ({"Retry-After": "3", "X-RateLimit-Reset": "1795334410"}, 3),
    ],
)
def test_the_wait_corti_asks_for_is_read_in_each_form(headers, seconds):
    class Fixed(clock.Clock):
        def now(self):
            return datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)

    with clock.use(Fixed()):
        assert retry_after(headers) == seconds
