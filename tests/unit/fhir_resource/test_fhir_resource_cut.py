"""Audio is cut out of JSON while it arrives."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import Invalid, Malformed, TooLarge
from fhir_bridge.fhir.resource.cut import Cutter, expression_of


def cut(body: bytes, size: int, limit: int = 10**6, documents: int = 10**6):
    found = {}

    def sink(path):
        found[path] = bytearray()
        return found[path].extend

    cutter = Cutter(sink, limit=limit, documents=documents, root="Media")
    for at in range(0, len(body), size):
        cutter.feed(body[at : at + size])
    return cutter.close(), found


def media(text: str) -> bytes:
    return json.dumps({"resourceType": "Media", "content": {"contentType": "audio/wav", "data": text}}).encode()


@given(
    st.binary(min_size=1, max_size=300),
    st.binary(min_size=1, max_size=300),
    st.integers(1, 400),
    st.booleans(),
    st.text(max_size=20),
)
def test_audio_arrives_whole_however_the_body_is_sliced_or_escaped(first, second, size, escaped, note):
    document = {
        note: note,
        "resourceType": "Bundle",
        "entry": [
            {"resource": {"content": {"data": base64.b64encode(first).decode(), "title": note}}},
            {"resource": {"data": base64.b64encode(second).decode(), "note": [note, {"data": "kept"}]}},
        ],
    }
    body = json.dumps(document)
    if escaped:
        body = body.replace("/", "\\/").replace("+", "\\u002b")

    rest, found = cut(body.encode(), size)

    assert bytes(found["entry", 0, "resource", "content", "data"]) == first
    assert bytes(found["entry", 1, "resource", "data"]) == second
    kept = json.loads(rest)
    assert kept["entry"][0]["resource"]["content"] == {"data": "cut:0", "title": note}
    assert kept["entry"][1]["resource"] == {"data": "cut:1", "note": [note, {"data": "kept"}]}


@given(st.binary(max_size=200), st.integers(1, 50))
def test_whatever_is_not_audio_passes_unchanged(body, size):
    try:
        rest, found = cut(body, size)
    except (Malformed, Invalid):
        return
    assert found or rest == body


@pytest.mark.parametrize("text", ["@@@@", "AAA", "AA==AAAA", "A", "AAAA=", "AA\\u00e9A"])
def test_broken_base64_is_refused_with_its_element(text):
    with pytest.raises(Invalid) as caught:
        cut(media(text), 5)
    assert caught.value.issues[0].code == "value"
    assert caught.value.issues[0].at == "Media.content.data"


def test_white_space_between_the_characters_is_allowed():
    _, found = cut(media("AA\r\nAA AA\tAA"), 3)
    assert bytes(found["content", "data"]) == b"\0" * 6


def test_empty_audio_is_refused():
    with pytest.raises(Malformed):
        cut(media(""), 1000)


def test_a_body_that_ends_inside_the_audio_is_refused():
    with pytest.raises(Malformed) as caught:
        cut(media("AAAA")[:-5], 1000)
    assert caught.value.at == "Media.content.data"


def test_json_over_its_limit_is_refused_however_small_the_pieces():
    with pytest.raises(TooLarge):
        cut(json.dumps({"note": "x" * 100}).encode(), 7, limit=50)


def note(size: int) -> dict:
    data = base64.b64encode(b"x" * size).decode()
    return {"note": "y" * 10, "content": [{"attachment": {"data": data}}, {"attachment": {"title": "z"}}]}


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_inline_documents_stay_and_have_a_limit_of_their_own(size):
    for body in (note(90), {"entry": [{"resource": note(90)}]}):
        text = json.dumps(body).encode()
        assert cut(text, size, limit=150, documents=90) == (text, {})
        with pytest.raises(TooLarge):
            cut(text, size, limit=60, documents=90)


@pytest.mark.parametrize(
    ("root", "at"), [(note(93), "Media."), ({"entry": [{"resource": note(93)}]}, "Media.entry[0].resource.")]
)
def test_an_inline_document_over_its_limit_is_named(root, at):
    with pytest.raises(TooLarge) as caught:
        cut(json.dumps(root).encode(), 7, documents=90)

    assert caught.value.at == f"{at}content[0].attachment.data"


def test_inline_documents_share_their_limit():
    two = {"entry": [{"resource": note(60)}, {"resource": note(60)}]}
    with pytest.raises(TooLarge):
        cut(json.dumps(two).encode(), 7, documents=90)


@pytest.mark.parametrize("body", [b"", b"}", b"]", b",", b'"', b'{"a\\', b'{"data', b'{"\\uZZZZ":1}', b"[1,2"])
def test_json_that_is_not_json_is_left_to_the_reader(body):
    assert cut(body, 1)[0] == body


def test_an_expression_names_entries_by_their_index():
    assert expression_of(("entry", 1, "resource", "data")) == "entry[1].resource.data"
