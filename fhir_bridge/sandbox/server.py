"""The local Corti as one running server: API, auth host and side channel on one port."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Self

from flask import Flask, Response, jsonify
from werkzeug.serving import make_server

from fhir_bridge.sandbox import admin, interactions, realm, sockets, tools, transcripts
from fhir_bridge.sandbox.engines import chosen
from fhir_bridge.sandbox.guard import Guard
from fhir_bridge.sandbox.state import State
from fhir_bridge.sandbox.wire import QuietHandler

if TYPE_CHECKING:
    from pathlib import Path

    from fhir_bridge.sandbox.engine import Engine
    from fhir_bridge.sandbox.switches import Switches

NOTICE = "A sandbox that speaks Corti's protocol. Not Corti, not for clinical use."


class Sandbox:
    """A running sandbox. Use as a context manager, or call `close`."""

    def __init__(self, engine: Engine, address: tuple[str, int], client: tuple[str, str], tenant: str = "base") -> None:
        self.tenant = tenant
        self.client_id, self.client_secret = client
        self.state = State(engine, {self.client_id: self.client_secret})
        host, port = address
        self._server = make_server(host, port, application(self.state), threaded=True, request_handler=QuietHandler)
        self.url = self.state.url = f"http://{f'[{host}]' if ':' in host else host}:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="sandbox-server", daemon=True
        )
        self._thread.start()

    @property
    def switches(self) -> Switches:
        """The live switches: assign to their fields in tests."""
        return self.state.switches

    def announcement(self) -> dict[str, str]:
        """What the command prints when it is ready (public-interface: `sandbox`)."""
        return {
            "api_url": self.url,
            "auth_url": self.url,
            "tenant": self.tenant,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }

    def close(self) -> None:
        """Break open conversations off, then stop listening."""
        for session in list(self.state.sessions):
            if not session.wire.closed:
                session.wire.reset()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def application(state: State) -> Flask:
    """The Flask application around a state."""
    app = Flask("fhir_bridge.sandbox", static_folder=None)
    guard = Guard(state, realms := realm.Realms(state))
    guard.install(app)
    for routes in (
        realm.blueprint(realms),
        interactions.blueprint(state, guard),
        transcripts.blueprint(state, guard),
        tools.blueprint(state, guard),
        sockets.blueprint(state, guard),
        admin.blueprint(state),
    ):
        app.register_blueprint(routes)

    @app.get("/health")
    def health() -> Response:
        return jsonify(status="ok", sandbox=True, recogniser=state.engine.name, notice=NOTICE)

    return app


def start(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    engine: str = "auto",
    script: Path | None = None,
    model_dir: Path | None = None,
    client_id: str | None = None,
    client_secret: str | None = None,
    tenant: str = "base",
) -> Sandbox:
    """Start a sandbox in this process and return when it serves. Raises CannotListen, OSError."""
    client = (client_id or "sandbox", client_secret or secrets.token_urlsafe(24))
    return Sandbox(chosen(engine, script, model_dir), (host, port), client, tenant)
