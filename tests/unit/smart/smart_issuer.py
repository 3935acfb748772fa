"""An issuer on the loopback: its metadata, its keys and its introspection endpoint, as real HTTP."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from joserfc.jwk import KeySet


class LocalIssuer:
    """What it answers can be changed; what it was asked is kept."""

    def __init__(self, *keys: Any) -> None:
        self.answers: dict[str, Any] = {}
        self.status = 200
        self.wait = 0.0
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                size = int(self.headers.get("Content-Length", "0"))
                form = dict(parse_qsl(self.rfile.read(size).decode(), keep_blank_values=True))
                outer.asked.append((self.path, dict(self.headers), form))
                time.sleep(outer.wait)
                found = outer.answers.get(self.path)
                body = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(404 if found is None else outer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # who hangs up early is part of the test
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.origin}/realms/hospital"
        self.publish(*keys)
        self.answers["/realms/hospital/.well-known/openid-configuration"] = {
            "issuer": self.url,
            "jwks_uri": f"{self.origin}/jwks",
            "introspection_endpoint": f"{self.origin}/introspect",
            "token_endpoint": f"{self.origin}/token",
        }

    def publish(self, *keys: Any) -> None:
        self.answers["/jwks"] = KeySet(list(keys)).as_dict(private=False) if keys else {"keys": []}

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
