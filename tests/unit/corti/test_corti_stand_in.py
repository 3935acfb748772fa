"""What a Corti at an address of our own says about itself."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from fhir_bridge.corti.endpoint import endpoint_of
from fhir_bridge.corti.stand_in import recogniser
from fhir_bridge.errors import CortiUnavailable


@pytest.fixture
def answering():
    """Start a server that answers /health so."""
    started = []

    def start(status, body):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status if self.path == "/health" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        started.append(server)
        url = f"http://127.0.0.1:{server.server_port}"
        return endpoint_of("eu", "base", url, url)

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "name"),
    [
        (200, b'{"status": "ok", "sandbox": true, "recogniser": "moonshine"}', "moonshine"),
        (200, b'{"sandbox": true, "recogniser": "a\\u0000\\n b"}', "a b"),
        (200, b'{"status": "ok"}', None),
        (200, b'{"sandbox": true}', None),
        (200, b"<html>", None),
        (200, b"", None),
        (200, b'["sandbox"]', None),
        (401, b'{"detail": "no token"}', None),
        (404, b"", None),
        (302, b"", None),
    ],
)
def test_only_a_sandbox_that_names_its_recogniser_is_one(answering, status, body, name):
    assert recogniser(answering(status, body)) == name


def test_a_corti_that_is_away_says_neither(answering):
    with pytest.raises(CortiUnavailable):
        recogniser(answering(503, b"{}"))
    nowhere = endpoint_of("eu", "base", "http://127.0.0.1:9", "http://127.0.0.1:9")
    with pytest.raises(CortiUnavailable):
        recogniser(nowhere)
