"""Recordings over bad lines: resumable upload (tus 1.0) on /fhir/Binary; and a Media as its sound."""

import base64
import hashlib
import os
from datetime import timedelta

import pytest
from conftest import media, wav
from test_api_audio import blobs

from fhir_bridge import clock
from fhir_bridge.app import create_app
from fhir_bridge.errors import WrongOffset, WrongProtocol
from fhir_bridge.verbs import upload
from fhir_bridge.verbs.retention import Keeper

TUS = {"Tus_Resumable": "1.0.0"}
BYTES = "application/offset+octet-stream"
HEADER = "http://127.0.0.1:8080/fhir/"


def metadata(**values: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def begun(ehr, size: int, **headers: str):
    headers = {"Upload_Metadata": metadata(contentType="audio/wav")} | headers
    return ehr.call("POST", "Binary", Upload_Length=str(size), **TUS, **headers)


def sent(ehr, place: str, offset: int, piece: bytes, **headers: str):
    headers = {"Content_Type": BYTES} | TUS | headers
    return ehr.call("PATCH", place, piece, Upload_Offset=str(offset), **headers)


def asked(ehr, place: str):
    return ehr.call("HEAD", place, **TUS)


def place_of(answer) -> str:
    assert answer.status == 201, answer.raw
    return answer.headers["Location"].removeprefix(HEADER)


def test_an_upload_in_pieces_becomes_a_binary_that_a_media_can_name(ehr, web_settings):
    audio = wav(6.0)
    place = place_of(begun(ehr, len(audio), X_Security_Context=f"Encounter/{ehr.encounter()}"))

    first = sent(ehr, place, 0, audio[:100_000])
    early = ehr.get(place)
    last = sent(ehr, place, 100_000, audio[100_000:])

    assert (first.status, first.headers["Upload-Offset"]) == (204, "100000")
    assert early.status == 404
    assert (last.status, last.headers["Upload-Offset"]) == (204, str(len(audio)))
    read = ehr.get(place)
    assert (read.raw, read.headers["Content-Type"]) == (audio, "audio/wav")
    assert read.headers["X-Content-Type-Options"] == "nosniff"
    made = ehr.post("Media", media(ehr.encounter()) | {"content": {"url": place}}).json
    assert made["content"]["hash"] == base64.b64encode(hashlib.sha1(audio, usedforsecurity=False).digest()).decode()
    assert len(blobs(web_settings)) == 1


def test_where_an_upload_goes_on_is_told_also_by_another_process(ehr, web_settings):
    audio = wav()
    place = place_of(begun(ehr, len(audio)))
    sent(ehr, place, 0, audio[:5000])
    other = create_app(web_settings)
    ehr.http = other.test_client()

    standing = asked(ehr, place)
    ended = sent(ehr, place, 5000, audio[5000:])
    done = asked(ehr, place)

    assert (standing.status, standing.headers["Upload-Offset"]) == (200, "5000")
    assert standing.headers["Upload-Length"] == str(len(audio))
    assert standing.headers["Cache-Control"] == "no-store"
    assert "Upload-Expires" in standing.headers
    assert ended.status == 204
    assert (done.headers["Upload-Offset"], done.headers["Upload-Length"]) == (str(len(audio)),) * 2
    assert "Upload-Expires" not in done.headers
    assert ehr.get(place).raw == audio
    other.extensions["fhir-bridge"].store.close()


def by_line(ehr, place: str, line, size: int) -> int:
    """Send the first bytes of an upload by a line that behaves in its own way; return the status."""
    headers = {"Content-Type": BYTES, "Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
    headers |= {"Authorization": f"Bearer {ehr.token}"}
    body = {"wsgi.input": line, "CONTENT_LENGTH": str(size)}
    return ehr.http.open(f"/fhir/{place}", method="PATCH", headers=headers, environ_overrides=body).status_code


class Broken:
    """A line that breaks after some bytes."""

    def __init__(self, piece: bytes) -> None:
        self.piece = piece

    def read(self, size: int = -1) -> bytes:
        if not self.piece:
            raise ConnectionResetError
        given, self.piece = self.piece[:size], self.piece[size:]
        return given


def test_what_came_before_the_line_broke_counts(ehr):
    content, arrived = os.urandom(2 * upload.PART), upload.PART + 90_000
    place = place_of(begun(ehr, len(content)))

    by_line(ehr, place, Broken(content[:arrived]), len(content))

    assert asked(ehr, place).headers["Upload-Offset"] == str(arrived)
    assert sent(ehr, place, arrived, content[arrived:]).status == 204
    assert ehr.get(place).raw == content


def test_an_upload_may_begin_with_bytes(ehr):
    audio = wav()
    begin = ehr.call("POST", "Binary", audio[:1000], Upload_Length=str(len(audio)), Content_Type=BYTES, **TUS)
    assert begin.headers["Upload-Offset"] == "1000"
    assert sent(ehr, place_of(begin), 1000, audio[1000:]).status == 204


def test_what_is_spoken_is_told_to_whoever_asks(ehr):
    answer = ehr.call("OPTIONS", "Binary")

    assert answer.status == 200
    assert answer.headers["Tus-Version"] == answer.headers["Tus-Resumable"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) == {"creation", "creation-with-upload", "expiration"}
    assert answer.headers["Tus-Max-Size"] == str(2**30)
    assert "Tus-Version" not in ehr.get("Binary/x").headers


def test_bytes_for_another_place_are_refused_with_the_right_one(ehr):
    place = place_of(begun(ehr, 100))
    sent(ehr, place, 0, b"12345")

    answer = sent(ehr, place, 0, b"12345")

    assert (answer.status, answer.issue["code"]) == (WrongOffset.status, WrongOffset.issue) == (409, "conflict")
    assert "number 5" in answer.issue["details"]["text"]
    assert answer.headers["Tus-Resumable"] == "1.0.0"


def test_an_upload_that_is_complete_takes_no_more(ehr):
    place = place_of(begun(ehr, 5))
    sent(ehr, place, 0, b"12345")
    assert sent(ehr, place, 5, b"6").status == 409


def test_more_bytes_than_were_announced_are_refused_and_what_fits_stays(ehr):
    place = place_of(begun(ehr, upload.PART + 10))

    answer = sent(ehr, place, 0, bytes(upload.PART + 11))

    assert (answer.status, answer.issue["code"]) == (413, "too-long")
    assert asked(ehr, place).headers["Upload-Offset"] == str(upload.PART)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Tus_Resumable": "0.2.2"}, WrongProtocol.status),
        ({"Upload_Length": str(2**30 + 1)}, 413),
        ({"Upload_Length": "0"}, 400),
        ({"Upload_Length": "-5"}, 400),
        ({"Upload_Length": "many"}, 400),
        ({"Upload_Length": "9" * 30}, 400),
        ({"Upload_Defer_Length": "1"}, 400),
        ({"Upload_Metadata": "contentType @@@@"}, 400),
        ({"Upload_Metadata": metadata(contentType="no type")}, 400),
        ({"X_Security_Context": "Encounter/../x y"}, 400),
        ({"Content_Encoding": "gzip"}, 415),
    ],
)
def test_an_upload_that_cannot_be_is_refused_when_it_begins(ehr, headers, status):
    given = {"Upload_Length": "10"} | TUS | headers
    answer = ehr.call("POST", "Binary", **given)
    assert answer.status == status
    assert answer.json["resourceType"] == "OperationOutcome"
    assert answer.headers["Tus-Version"] == "1.0.0"


@pytest.mark.parametrize("metadata_", ["", "filename d29yZHM=,relativePath", metadata(filetype="text/plain")])
def test_what_is_uploaded_is_told_by_metadata_or_unknown(ehr, metadata_):
    place = place_of(begun(ehr, 5, Upload_Metadata=metadata_))
    sent(ehr, place, 0, b"words")
    expected = "text/plain" if "filetype" in metadata_ else "application/octet-stream"
    assert ehr.get(place).headers["Content-Type"] == expected


def test_a_patch_in_another_form_is_no_upload(ehr):
    place = place_of(begun(ehr, 100))

    assert sent(ehr, place, 0, b"[]", Content_Type="application/json-patch+json").status == 405
    assert ehr.call("PATCH", place, b"1", Content_Type=BYTES, Upload_Offset="0").status == 412
    assert ehr.call("PATCH", place, b"1", Content_Type=BYTES, **TUS).status == 400


def test_an_upload_belongs_to_who_began_it(ehr, new_ehr, other_ehr):
    place = place_of(begun(ehr, 100))

    for stranger in (new_ehr(), other_ehr):
        assert asked(stranger, place).status == 404
        assert sent(stranger, place, 0, b"1").status == 404
    assert asked(new_ehr("system/Binary.r"), place).status == 403
    assert begun(new_ehr("system/Binary.r"), 5).status == 403
    assert asked(ehr, place).headers["Upload-Offset"] == "0"


class Tomorrow(clock.Clock):
    def now(self):
        return super().now() + timedelta(hours=25)


def test_an_upload_that_nobody_ends_expires_and_leaves_nothing(ehr, bridge, web_settings):
    place = place_of(begun(ehr, 100))
    sent(ehr, place, 0, b"12345")
    assert Keeper(web_settings, bridge.store, bridge.blobs, bridge.keyring).apply().strays == 0
    assert len(blobs(web_settings)) == 1

    with clock.use(Tomorrow()):
        ehr._token = ""
        gone = asked(ehr, place)
        assert Keeper(web_settings, bridge.store, bridge.blobs, bridge.keyring).apply().strays == 1

    assert gone.status == 404
    assert blobs(web_settings) == []


def test_there_has_to_be_room_for_an_upload(ehr, web_settings):
    assert ehr.token
    full = create_app(web_settings.model_copy(update={"min_free_bytes": 2**62}))
    ehr.http = full.test_client()

    answer = begun(ehr, 5)

    assert (answer.status, answer.issue["code"]) == (507, "no-store")
    full.extensions["fhir-bridge"].store.close()


class Slow:
    """A body that does not arrive before something else has happened."""

    def __init__(self, piece: bytes, happening) -> None:
        self.piece = piece
        self.happening = happening

    def read(self, size: int = -1) -> bytes:
        if self.piece:
            self.happening()
        given, self.piece = self.piece[:size], b""
        return given


WHOLE = b"1234567890"


@pytest.mark.parametrize(("piece", "others"), [(WHOLE[:5], WHOLE[:5]), (WHOLE, WHOLE), (WHOLE, WHOLE[:5])])
def test_two_requests_at_one_place_are_one_and_a_refusal(ehr, piece, others, web_settings):
    place = place_of(begun(ehr, 10))
    outcomes = []

    def other() -> None:
        outcomes.append(sent(ehr, place, 0, others).status)

    status = by_line(ehr, place, Slow(piece, other), len(piece))

    assert (status, outcomes) == (409, [204])
    assert asked(ehr, place).headers["Upload-Offset"] == str(len(others))
    assert len(blobs(web_settings)) == 1


# --- a Media as its sound ---------------------------------------------------------------


@pytest.mark.parametrize("accept", ["audio/*", "audio/wav", "audio/webm, audio/*;q=0.9, */*;q=0.5", "audio/wav, */*"])
def test_a_media_is_its_sound_for_who_asks_for_sound(ehr, accept):
    audio = wav()
    recording = ehr.create(media(ehr.encounter(), audio))

    whole = ehr.get(f"Media/{recording}", Accept=accept)
    part = ehr.get(f"Media/{recording}", Accept=accept, Range="bytes=0-3")

    assert (whole.raw, whole.headers["Content-Type"]) == (audio, "audio/wav")
    assert (part.status, part.raw) == (206, b"RIFF")


@pytest.mark.parametrize(
    "accept", ["application/fhir+json", "*/*", "application/fhir+json, audio/*;q=0.9", "audio/*, application/json", ""]
)
def test_a_media_is_a_resource_for_everyone_else(ehr, accept):
    recording = ehr.create(media(ehr.encounter()))
    assert ehr.get(f"Media/{recording}", Accept=accept).json["resourceType"] == "Media"
    assert ehr.get(f"Media/{recording}?_format=json", Accept="audio/*").json["resourceType"] == "Media"


def test_sound_of_another_kind_is_not_made(ehr):
    recording = ehr.create(media(ehr.encounter()))
    assert ehr.get(f"Media/{recording}", Accept="audio/mpeg").status == 406


def test_the_sound_of_a_media_is_for_who_may_read_both(ehr, new_ehr):
    recording = ehr.create(media(ehr.encounter()))
    assert new_ehr("system/Binary.r").get(f"Media/{recording}", Accept="audio/*").status == 403
    assert new_ehr("system/Media.r").get(f"Media/{recording}", Accept="audio/*").status == 403
