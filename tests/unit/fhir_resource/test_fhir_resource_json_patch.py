"""JSON Patch: what fits is applied and read again, what does not changes nothing."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import Malformed, PatchFailed
from fhir_bridge.fhir.resource.json_patch import json_patched
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.resource.writer import write

ANNA, AB, B = {"family": "Berg", "given": ["Anna", "Maria"]}, {"text": "A. B."}, {"text": "B"}
PATIENT = read(
    b'{"resourceType":"Patient","id":"p","active":true,"multipleBirthInteger":2,'
    b'"name":[{"family":"Berg","given":["Anna","Maria"]},{"text":"A. B."}],'
    b'"extension":[{"url":"urn:x","valueDecimal":1.10}]}'
)


def patched(*operations: object) -> dict:
    return json_patched(PATIENT, json.dumps(operations).encode())


def op(kind: str, path: str, **more: object) -> dict:
    return {"op": kind, "path": path, **more}


@pytest.mark.parametrize(
    ("operations", "changed"),
    [
        ([op("add", "/gender", value="female")], {"gender": "female"}),
        ([op("replace", "/active", value=False)], {"active": False}),
        ([op("remove", "/active")], {"active": None}),
        ([op("add", "/name/1", value=B)], {"name": [ANNA, B, AB]}),
        ([op("add", "/name/-", value=B)], {"name": [ANNA, AB, B]}),
        ([op("move", "/name/0", **{"from": "/name/1"})], {"name": [AB, ANNA]}),
        ([op("copy", "/name/0/text", **{"from": "/name/1/text"})], {"name": [ANNA | AB, AB]}),
        ([op("test", "/name/0/family", value="Berg"), op("remove", "/name/1")], {"name": [ANNA]}),
    ],
)  # fmt: skip
def test_operations_do_what_the_rfc_says(operations: list, changed: dict):
    expected = {name: value for name, value in (PATIENT | changed).items() if value is not None}

    assert patched(*operations) == expected


def test_what_is_not_touched_keeps_its_text_and_the_original_stays_as_it_was():
    before = copy.deepcopy(PATIENT)

    found = patched(op("remove", "/active"))

    assert '"valueDecimal":1.10' in write(found)
    assert before == PATIENT


def test_decimals_of_a_patch_keep_their_text():
    body = b'[{"op":"replace","path":"/extension/0/valueDecimal","value":2.50}]'

    assert '"valueDecimal":2.50' in write(json_patched(PATIENT, body))


def test_what_a_removal_leaves_empty_goes_too():
    assert "extension" not in patched(op("remove", "/extension/0"))
    assert "name" not in patched(op("remove", "/name/1"), op("remove", "/name/0/family"), op("remove", "/name/0/given"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b" ",
        b"{}",
        b"[",
        b'"text"',
        b"[null]",
        b"[1]",
        b"[[]]",
        b'[{"op":"add","path":"/gender","value":"male"}] []',
        b'[{"path":"/gender","value":"male"}]',
        b'[{"op":5,"path":"/gender","value":"male"}]',
        b'[{"op":"destroy","path":"/gender"}]',
        b'[{"op":"add","path":"/gender"}]',
        b'[{"op":"move","path":"/gender"}]',
        b'[{"op":"remove"}]',
        b'[{"op":"remove","path":7}]',
        b'[{"op":"remove","path":"gender"}]',
        b'[{"op":"remove","path":"/a~2"}]',
        b'[{"op":"copy","path":"/a","from":"b"}]',
        b'[{"op":"replace","path":"/gender","value":null}]',
        b'[{"op":"replace","path":"/gender","value":""}]',
        b'[{"op":"remove","op":"add","path":"/gender"}]',
        b"[" + b",".join([b'{"op":"remove","path":"/active"}'] * 501) + b"]",
    ],
)
def test_what_is_no_patch_document_is_malformed(body: bytes):
    with pytest.raises(Malformed):
        json_patched(PATIENT, body)


@pytest.mark.parametrize(
    "operation",
    [
        op("remove", "/gender"),
        op("replace", "/gender", value="male"),
        op("test", "/active", value=False),
        op("test", "/gender", value="male"),
        op("add", "/photo/0/url", value="urn:x"),
        op("add", "/name/7", value=B),
        op("add", "/name/-1", value=B),
        op("add", "/name/01", value=B),
        op("add", "/name/first", value=B),
        op("add", "/name/" + "9" * 5000, value=B),
        op("add", "/active/x", value=True),
        op("remove", "/name/-"),
        op("remove", "/name/0/family/0"),
        op("move", "/name/0", **{"from": "/photo/0"}),
        op("move", "/name/0/text", **{"from": "/name/0"}),
        op("copy", "/photo", **{"from": "/nothing"}),
        op("copy", "/photo", **{"from": "/name/-"}),
    ],
)
def test_what_does_not_fit_is_said_with_its_number(operation: dict):
    with pytest.raises(PatchFailed) as refused:
        patched(op("test", "/id", value="p"), operation)

    assert refused.value.status == 422
    assert "Operation 1" in refused.value.text


def test_copies_of_copies_end_before_memory_does():
    double = [op("copy", "/name/-", **{"from": "/name"})] * 60
    long = op("add", "/text", value={"div": "x" * 150_000})

    with pytest.raises(PatchFailed, match="copies too much"):
        patched(*double)
    with pytest.raises(PatchFailed, match="copies too much"):
        patched(long, *[op("copy", f"/a{n}", **{"from": "/text"}) for n in range(2)])


def test_a_patch_cannot_nest_deeper_than_a_body_may():
    deep = {"extension": [{"url": "urn:x"}]}
    for _ in range(40):
        deep = {"extension": [deep]}
    place = "/extension/0" * 41

    with pytest.raises(PatchFailed):
        patched(op("add", "/contact", value=[deep]), op("add", f"/contact/0{place}/extension", value=[deep]))
    with pytest.raises(PatchFailed):
        patched(
            op("add", "/contact", value=[deep]),
            *[op("add", f"/contact/0{place * n}/extension", value=[deep]) for n in range(1, 40)],
        )


NAMES = st.sampled_from(["name", "0", "1", "-", "given", "family", "active", "id", "extension", "", "a~b", "é"])
POINTERS = st.lists(NAMES, max_size=4).map(lambda names: "".join(f"/{name}" for name in names))
VALUES = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=3) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KINDS = st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])
OPERATIONS = st.fixed_dictionaries({"op": KINDS, "path": POINTERS, "from": POINTERS, "value": VALUES})


@given(st.lists(OPERATIONS, max_size=4))
def test_any_patch_ends_in_fhir_json_or_in_an_error_for_the_caller(operations: list):
    try:
        found = patched(*operations)
    except (Malformed, PatchFailed):
        return
    assert read(write(found)) == found
