"""Primitive values: taken exactly or refused, never converted."""

import pytest

from fhir_bridge.fhir.resource.formats import FORMATS, fault
from fhir_bridge.fhir.resource.moments import surely_after
from fhir_bridge.fhir.resource.reader import Number

GOOD = {
    "base64Binary": ["QQ==", "QUI=", "QUJD", "QUJD\r\n QUJD"],
    "boolean": [True, False],
    "canonical": ["http://a/b|1"],
    "code": ["a", "a b", "<="],
    "date": ["2026", "2026-04", "2024-02-29"],
    "dateTime": ["2026", "2026-04-17", "2026-04-17T23:59:60Z", "2026-04-17T09:00:00.123456789+14:00"],
    "decimal": [1, Number("1.10"), -5],
    "id": ["a", "A-1.b", "x" * 64],
    "instant": ["2026-04-17T09:00:00Z", "2026-04-17T09:00:00.001-13:59"],
    "integer": [0, -(2**31), 2**31 - 1],
    "markdown": ["*a*\n"],
    "oid": ["urn:oid:1.2.840"],
    "positiveInt": [1],
    "string": [" a\n", "x" * 2**20],
    "time": ["23:59:60.5"],
    "unsignedInt": [0],
    "uri": ["urn:a", "#a", "../b"],
    "url": ["https://a/b?c"],
    "uuid": ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
    "xhtml": ['<div xmlns="http://www.w3.org/1999/xhtml">a</div>'],
}
BAD = {
    "base64Binary": ["@@@", "QQ", "QQ=", "Q===", "QQ==QQ==", "é"],
    "canonical": ["a b"],
    "code": [" a", "a ", "a  b", "a\tb", " "],
    "date": ["26", "2026-4", "2026-13", "2026-02-29", "2026-04-17T00:00:00Z", "0000", "2026-04-31"],
    "dateTime": [
        "2026-04-17T09:00",
        "2026-04-17T09:00:00",
        "2026-04-17 09:00:00Z",
        "2026-04-17T24:00:00Z",
        "\uff12\uff10\uff12\uff16",
    ],
    "id": ["", "x" * 65, "a_b", "a/b", "a\n"],
    "instant": ["2026-04-17", "2026-04-17T09:00Z", "2026-04-17T09:00:00", "2026-02-30T09:00:00Z"],
    "integer": [2**31, -(2**31) - 1],
    "markdown": ["x" * (2**20 + 1)],
    "oid": ["1.2.3", "urn:oid:3.1", "urn:oid:1.02"],
    "positiveInt": [0, -1],
    "string": ["x" * (2**20 + 1)],
    "time": ["24:00:00", "09:00", "09:00:00Z"],
    "unsignedInt": [-1],
    "uri": ["a b", " "],
    "url": ["a b"],
    "uuid": ["c757873d-ec9a-4326-a141-556f43239520", "urn:uuid:C757873D-ec9a-4326-a141-556f43239520"],
}


@pytest.mark.parametrize("kind", FORMATS)
def test_each_primitive_type_has_good_values(kind):
    assert [value for value in GOOD[kind] if fault(kind, value)] == []


@pytest.mark.parametrize("kind", BAD)
def test_a_value_in_the_wrong_format_is_told_with_what_to_write(kind):
    for value in BAD[kind]:
        code, text = fault(kind, value)
        assert code == "value", value
        assert FORMATS[kind].hint in text


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("boolean", "true", "must be a JSON boolean, not a string"),
        ("boolean", 1, "must be a JSON boolean, not a number"),
        ("integer", "12", "must be a JSON number, not a string"),
        ("integer", True, "must be a JSON number, not a boolean"),
        ("integer", Number("1.0"), "must be a JSON number, not a number"),
        ("decimal", "1.5", "must be a JSON number, not a string"),
        ("decimal", False, "must be a JSON number, not a boolean"),
        ("string", 5, "must be a JSON string, not a number"),
        ("code", ["a"], "must be a JSON string, not an array"),
        ("code", {"a": 1}, "must be a JSON string, not an object"),
        ("code", None, "must be a JSON string, not a null"),
    ],
)
def test_the_json_type_must_be_the_one_fhir_says(kind, value, text):
    assert fault(kind, value) == ("structure", text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2027", "2026"),
        ("2026-05", "2026-04"),
        ("2027-01", "2026-12"),
        ("2026-04-18", "2026-04-17"),
        ("2026-06-01", "2026-05"),
        ("9999-12-31", "9999-12-30"),
        ("2026-04-17T09:00:00.001Z", "2026-04-17T09:00:00.000Z"),
        ("2026-04-17T09:00:00Z", "2026-04-17T10:59:59+02:00"),
        ("2026-04-17T09:00:00-02:00", "2026-04-17T10:59:59Z"),
        ("2026-04-20T00:00:00Z", "2026-04-17"),
        ("2026-04-17T09:00:00.1234567891Z", "2026-04-17T09:00:00.1234567880Z"),
    ],
)
def test_what_lies_after_lies_not_before(one, other):
    assert surely_after(one, other)
    assert not surely_after(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2026", "2026-04"),
        ("2026-04-17", "2026-04-17"),
        ("2026-04-18", "2026-04-17T23:00:00-05:00"),
        ("2026-04-17T09:00:00Z", "2026-04-17T09:00:00.500Z"),
        ("2026-04-17T09:00:00Z", "2026-04-17T11:00:00+02:00"),
        ("9999", "9999-12"),
        ("0001-01-01", "0001-01-01T00:00:00Z"),
    ],
)
def test_what_overlaps_has_no_order(one, other):
    assert not surely_after(one, other)
    assert not surely_after(other, one)


def test_only_dates_are_compared():
    with pytest.raises(ValueError, match="not a FHIR dateTime"):
        surely_after("today", "2026")
