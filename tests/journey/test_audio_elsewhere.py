"""Recordings at another host: fetched where FHIR_BRIDGE_AUDIO_HOSTS names it, refused elsewhere (ruling 26)."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import example, media, wav

from fhir_bridge.app import create_app

URL = "Media.content.url"


class Shelf(BaseHTTPRequestHandler):
    """Gives `/visit.wav`, breaks off `/half.wav`, sends `/moved.wav` elsewhere, and has nothing else."""

    def do_GET(self):
        audio = wav()
        self.server.asked.append(self.path)
        status = {"/visit.wav": 200, "/half.wav": 200, "/moved.wav": 302}.get(self.path.partition("?")[0], 404)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/visit.wav")
        self.send_header("Content-Length", str(len(audio) if status == 200 else 0))
        self.end_headers()
        if status == 200:
            self.wfile.write(audio[: 100 if self.path == "/half.wav" else None])

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def shelf():
    with ThreadingHTTPServer(("127.0.0.1", 0), Shelf) as server:
        server.asked = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def web_settings(sqlite_settings):
    given = {"public_url": "http://127.0.0.1:8080", "audio_hosts": ("127.0.0.1",), "allow_private_endpoints": True}
    return sqlite_settings.model_copy(update=given)


@pytest.fixture
def stricter(new_ehr, web_settings):
    """The same bridge with other settings."""

    @contextmanager
    def with_(**changed):
        other = create_app(web_settings.model_copy(update=changed))
        ehr = new_ehr()
        ehr.http = other.test_client()
        yield ehr
        other.extensions["fhir-bridge"].store.close()

    return with_


def at(url, encounter, **changes):
    return media(encounter, **changes) | {"content": {"contentType": "audio/wav", "url": url, "title": "Visit"}}


def kept(settings):
    return [path for path in (settings.data_dir / "audio").rglob("*") if path.is_file()]


def test_a_recording_of_an_allowed_host_becomes_a_binary(ehr, shelf):
    encounter = ehr.encounter()

    answer = ehr.post("Media", at(f"{shelf.url}/visit.wav?signature=abc", encounter))

    content = answer.json["content"]
    assert answer.status == 201
    assert (content["title"], content["size"]) == ("Visit", len(wav()))
    assert content["url"].startswith("Binary/")
    assert ehr.get(content["url"], Accept="*/*").raw == wav()
    assert shelf.asked == ["/visit.wav?signature=abc"]
    assert ehr.get(f"Task?focus=Media/{answer.json['id']}").found[0]["status"] == "accepted"


def test_the_same_recording_named_again_is_the_same_media_and_kept_once(ehr, shelf, web_settings):
    sent = at(f"{shelf.url}/visit.wav", ehr.encounter())

    first, second = ehr.post("Media", sent), ehr.post("Media", sent)

    assert (first.status, second.status) == (201, 200)
    assert first.json["id"] == second.json["id"]
    assert len(kept(web_settings)) == 1


@pytest.mark.parametrize(
    ("path", "says"),
    [("/none.wav", "404"), ("/moved.wav", "302"), ("/half.wav", "in time")],
)
def test_what_a_host_does_not_give_is_refused_at_once(ehr, shelf, web_settings, path, says):
    answer = ehr.post("Media", at(shelf.url + path, ehr.encounter()))

    assert (answer.status, answer.issue["code"]) == (422, "business-rule")
    assert says in answer.issue["details"]["text"]
    assert answer.issue["expression"] == [URL]
    assert kept(web_settings) == []


def test_a_recording_that_is_too_large_elsewhere_is_refused(stricter, shelf, web_settings):
    with stricter(max_binary_bytes=1000) as ehr:
        answer = ehr.post("Media", at(f"{shelf.url}/visit.wav", ehr.encounter()))

    assert (answer.status, answer.issue["code"]) == (413, "too-long")
    assert kept(web_settings) == []


@pytest.mark.parametrize(
    "url", ["http://localhost:{port}/visit.wav", "http://[::1", "urn:uuid:nobody", "ftp://127.0.0.1/a"]
)
def test_a_host_that_is_not_named_is_never_asked(ehr, shelf, url):
    answer = ehr.post("Media", at(url.format(port=shelf.server_port), ehr.encounter()))

    assert (answer.status, answer.issue["expression"]) == (422, [URL])
    assert shelf.asked == []


def test_an_address_inside_is_refused_even_where_it_is_named(stricter, shelf):
    with stricter(allow_private_endpoints=False) as ehr:
        answer = ehr.post("Media", at(f"{shelf.url}/visit.wav", ehr.encounter()))

    assert (answer.status, answer.issue["expression"]) == (422, [URL])
    assert shelf.asked == []


def test_who_may_write_no_media_makes_the_bridge_fetch_nothing(ehr, new_ehr, shelf):
    reader = new_ehr("system/*.rs")

    answer = reader.post("Media", at(f"{shelf.url}/visit.wav", ehr.encounter()))

    assert answer.status == 403
    assert shelf.asked == []


def test_audio_that_came_along_counts_more_than_a_url(ehr, shelf):
    sent = media(ehr.encounter(), wav(0.3))
    sent["content"]["url"] = f"{shelf.url}/visit.wav"

    assert ehr.post("Media", sent).status == 201
    assert shelf.asked == []


def bundle(kind, *resources):
    entries = [{"resource": one, "request": {"method": "POST", "url": one["resourceType"]}} for one in resources]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def test_a_transaction_fetches_what_its_media_name_or_is_refused_whole(ehr, shelf):
    encounter = ehr.encounter()
    good, bad = at(f"{shelf.url}/visit.wav", encounter), at(f"{shelf.url}/none.wav", encounter)

    done, refused = (
        ehr.post("", bundle("transaction", example("patient"), good)),
        ehr.post("", bundle("transaction", good, bad)),
    )

    assert done.json["entry"][1]["response"]["status"].startswith("201")
    assert (refused.status, refused.issue["expression"]) == (422, ["Bundle.entry[1].resource.content.url"])


def test_a_binary_of_the_bridge_itself_is_not_fetched_though_its_host_is_named(ehr, web_settings):
    binary = ehr.post("Binary", wav(), Content_Type="audio/wav").json["id"]
    sent = at(f"{web_settings.public_url}/fhir/Binary/{binary}", ehr.encounter())

    assert ehr.post("Media", sent).json["content"]["url"] == f"Binary/{binary}"
    assert len(kept(web_settings)) == 1


def test_in_a_batch_only_the_entry_fails_that_names_what_is_not_given(ehr, shelf):
    encounter = ehr.encounter()
    urls = [f"{shelf.url}/half.wav", f"{shelf.url}/visit.wav"]

    answer = ehr.post("", bundle("batch", *(at(url, encounter) for url in urls)))

    assert [one["response"]["status"][:3] for one in answer.json["entry"]] == ["422", "201"]
