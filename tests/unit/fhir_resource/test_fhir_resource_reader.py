"""What the strict reader takes, and what it refuses where."""

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import Malformed
from fhir_bridge.fhir.resource.reader import MAX_DEPTH, MAX_NODES, Number, read, step
from fhir_bridge.fhir.resource.writer import write, write_value

NAMES = st.from_regex(r"[a-z][A-Za-z]{0,5}", fullmatch=True)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=3).map(lambda value: Number(f"{value:f}"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
SCALARS = TEXTS | st.booleans() | st.integers() | NUMBERS
OBJECTS = st.recursive(
    st.dictionaries(NAMES, SCALARS, min_size=1, max_size=4),
    lambda inner: st.dictionaries(
        NAMES, SCALARS | inner | st.lists(SCALARS | inner, min_size=1, max_size=3), min_size=1, max_size=4
    ),
    max_leaves=12,
)


def refusal(body) -> Malformed:
    with pytest.raises(Malformed) as caught:
        read(body)
    return caught.value


@given(OBJECTS)
def test_what_is_written_is_read_again(tree):
    assert read(write(tree)) == tree
    assert read(write(tree).encode()) == tree


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_refused(body):
    with suppress(Malformed):
        assert isinstance(read(body), dict)


@given(st.text(alphabet='{}[]",:\\u0dDf0123456789eE.-+ntrlasfNI_ \x00\ud800', max_size=60))
def test_arbitrary_almost_json_is_read_or_refused(text):
    with suppress(Malformed):
        assert isinstance(read(text), dict)


@pytest.mark.parametrize(
    "text", ["1.10", "1e2", "-0.0", "1E+2", "0.10000000000000000001", "-0", "12345678901234567890"]
)
def test_a_number_is_written_as_it_came(text):
    body = f'{{"value":{text},"also":[{text}]}}'

    assert write(read(body)) == body
    assert read(body)["value"] == Decimal(text)
    assert str(read(body)["value"]) == text


def test_a_whole_number_is_a_plain_int():
    assert type(read('{"count":17}')["count"]) is int


@pytest.mark.parametrize("value", ["NaN", "01", ".5", "+1", Decimal("Infinity")])
def test_a_number_that_json_cannot_write_is_no_number(value):
    with pytest.raises(ValueError, match="JSON number"):
        Number(value)


def test_a_decimal_of_ours_is_written_as_a_number():
    assert write({"value": Decimal("36.60")}) == '{"value":36.60}'
    assert write_value([Decimal("1.0"), "a"]) == '[1.0,"a"]'


def test_a_string_that_looks_like_the_writers_own_mark_is_kept():
    tree = {"text": '"\\u0000"', "value": Number("1.0")}

    assert read(write(tree)) == tree


def test_a_nul_of_ours_never_swallows_a_number():
    with pytest.raises(ValueError, match="NUL"):
        write({"text": "\0", "value": Number("1.0")})


def test_what_is_not_json_is_not_written():
    with pytest.raises(TypeError, match="set is not JSON"):
        write({"value": {1}})


def test_a_syntax_error_tells_line_and_column_and_nothing_of_the_body():
    refused = refusal('{"resourceType": "Patient",\n  "name": Anna}')

    assert refused.text == "The body is not JSON: line 2, column 11"
    assert "Anna" not in str(refused.issues)


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ('{"resourceType":"Encounter","period":{"start":null}}', "Encounter.period.start"),
        ('{"resourceType":"Encounter","participant":[{"id":"a"},{}]}', "Encounter.participant[1]"),
        ('{"resourceType":"Encounter","participant":[]}', "Encounter.participant"),
        ('{"resourceType":"Encounter","language":""}', "Encounter.language"),
        ('{"resourceType":"Encounter","status":"a","status":"b"}', "Encounter.status"),
        ('{"resourceType":"Media","duration":NaN}', "Media.duration"),
        ('{"resourceType":"Media","duration":-Infinity}', "Media.duration"),
        ('{"resourceType":"Media","duration":1e400}', "Media.duration"),
        ('{"resourceType":"Media","duration":1e99999999999999999999999}', "Media.duration"),
        (f'{{"resourceType":"Media","duration":{"1" * 65}}}', "Media.duration"),
        ('{"resourceType":"Media","note":[[1]]}', "Media.note[0]"),
        ('{"resourceType":"Patient","name":[{"text":"\\u0000"}]}', "Patient.name[0].text"),
        ('{"resourceType":"Patient","name":[{"text":"\\ud800"}]}', "Patient.name[0].text"),
        ('{"resourceType":"Patient","name":[{"given":[null,"x"]}]}', "Patient.name[0].given[0]"),
        ('{"resourceType":"Patient","name":[{"given":["x",null],"_given":[{"id":"a"}]}]}', "Patient.name[0].given[1]"),
        ('{"resourceType":"Patient","name":[{"_given":[null]}]}', "Patient.name[0].given[0]"),
        ('{"resourceType":"Patient","_birthDate":null}', "Patient.birthDate"),
        ('{"a":null}', "a"),
        ('{"resourceType":"<script>","a":null}', "a"),
        ('{"resourceType":"Patient","Anna Berg":null}', "Patient"),
        ('{"resourceType":"Patient","\\u0000":1}', "Patient"),
        ("{}", None),
    ],
)
def test_what_fhirs_json_forbids_is_refused_with_its_element(body, at):
    refused = refusal(body)

    assert refused.at == at
    assert refused.status == 400
    assert refused.issues[0].code == "structure"
    assert "Anna" not in refused.text


def test_null_may_hold_the_place_of_a_value_that_only_has_an_extension():
    body = '{"given":[null,"x"],"_given":[{"id":"a"},null]}'

    assert write(read(body)) == body


def test_a_pair_of_surrogate_escapes_is_one_character():
    assert read('{"a":"\\ud83d\\ude00"}') == {"a": "😀"}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"\xef\xbb\xbf{}", "The body starts with a byte order mark; send UTF-8 without one"),
        (b'{"a":"\xff"}', "The body is not UTF-8"),
        ('{"a":"\ud800"}', "The body is not UTF-8"),
        ("[1]", "The body must be one JSON object, such as a resource"),
        ("7", "The body must be one JSON object, such as a resource"),
        ('{"a":' * 500 + "1" + "}" * 500, f"nested deeper than {MAX_DEPTH} levels"),
        ("[" * 100_000, f"The body is nested deeper than {MAX_DEPTH} levels"),
        ('{"a":[' + ",".join(["1"] * (MAX_NODES + 1)) + "]}", f"The body has more than {MAX_NODES} elements"),
        ('{"a":[' + ",".join(["{}"] * (MAX_NODES + 1)) + "]}", f"The body has more than {MAX_NODES} elements"),
    ],
)
def test_a_body_that_cannot_be_a_resource_is_refused(body, text):
    assert refusal(body).text.endswith(text)


def test_depth_is_allowed_up_to_its_limit():
    deep = MAX_DEPTH - 1
    body = '{"a":' * deep + '{"b":1}' + "}" * deep

    assert json.loads(write(read(body))) == json.loads(body)
    assert "deeper" in refusal('{"a":' + body + "}").text


def test_a_path_never_repeats_a_name_that_fhir_cannot_have():
    assert step("Patient", "birthDate") == "Patient.birthDate"
    assert step("Patient", "_birthDate") == "Patient.birthDate"
    assert step("", "birthDate") == "birthDate"
    assert step("Patient", "Anna Berg") == "Patient"
