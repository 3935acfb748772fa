"""A running sandbox, and a client that knows nothing of the bridge's own client."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
import requests
import websocket

from fhir_bridge.sandbox import numbers, server

PCM = "audio/pcm; rate=16000; channels=1; bits=16"


class Caller:
    """Talks REST and sockets to one sandbox with one token."""

    def __init__(self, sandbox, tenant="base", scope="openid"):
        self.sandbox, self.tenant, self.url = sandbox, tenant, sandbox.url
        self.sockets = []
        self.token = self.grant(grant_type="client_credentials", scope=scope).json()["access_token"]

    def grant(self, **form):
        form = {"client_id": self.sandbox.client_id, "client_secret": self.sandbox.client_secret} | form
        url = f"{self.url}/realms/{self.tenant}/protocol/openid-connect/token"
        return requests.post(url, data={k: v for k, v in form.items() if v is not None}, timeout=10)

    def __call__(self, method, path, **more):
        headers = {"Authorization": f"Bearer {self.token}", "Tenant-Name": self.tenant} | more.pop("headers", {})
        headers = {k: v for k, v in headers.items() if v is not None}
        more = {"timeout": 60, "allow_redirects": False} | more
        return requests.request(method, f"{self.url}/v2{path}", headers=headers, **more)  # noqa: S113 - in more

    def create(self, identifier="enc-1", **more):
        body = {"encounter": {"identifier": identifier, "status": "planned", "type": "consultation"}, **more}
        answer = self("POST", "/interactions/", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def open(self, interaction, query=None):
        url = interaction["websocketUrl"] if isinstance(interaction, dict) else interaction
        query = f"token={quote(f'Bearer {self.token}')}" if query is None else query
        socket = websocket.create_connection(f"{url}{'&' if '?' in url else '?'}{query}", timeout=20)
        self.sockets.append((socket, socket.sock))
        return Talk(socket)

    def live(self, interaction, **more):
        talk = self.open(interaction)
        talk.tell(config(**more))
        assert talk.next()["type"].upper() == "CONFIG_ACCEPTED"
        return talk

    def close(self):
        for socket, raw in self.sockets:
            socket.shutdown()
            raw.close()


class Talk:
    """One socket."""

    def __init__(self, socket):
        self.socket = socket
        self.code = None

    def tell(self, message):
        self.socket.send(json.dumps(message) if isinstance(message, dict) else message)

    def play(self, sound, size=8000):
        for at in range(0, len(sound), size):
            self.socket.send_binary(sound[at : at + size])

    def end(self):
        self.tell({"type": "end"})
        return self.rest()

    def next(self):
        opcode, payload = self.socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            self.code = int.from_bytes(payload[:2], "big")
            return None
        return json.loads(payload)

    def rest(self):
        """Every message up to the close; `code` is None when there was no close frame."""
        heard = []
        try:
            while (message := self.next()) is not None:
                heard.append(message)
        except (OSError, websocket.WebSocketException):
            pass
        return heard

    def until(self, kind):
        heard = []
        while (message := self.next()) is not None:
            heard.append(message)
            if message["type"] == kind:
                return heard
        raise AssertionError(heard)


def config(mode="facts", **more):
    transcription = {"primaryLanguage": "en", "participants": [{"channel": 0, "role": "multiple"}]}
    transcription |= more.pop("transcription", {})
    modes = {"type": mode, "outputLocale": "en", "factGenerationInterval": "fast_init"}
    full = {"transcription": transcription, "mode": modes, "audioFormat": PCM, **more}
    return {"type": "config", "configuration": {k: v for k, v in full.items() if v is not None}}


def pcm(count, first=0):
    """Numbered sound as raw PCM at 16 kHz."""
    return numbers.samples(first, count).tobytes()


def kinds(messages):
    return [message["type"] for message in messages]


def told(messages):
    """The numbers in all transcripts."""
    segments = [one for message in messages if message["type"] == "transcript" for one in message["data"]]
    return [int(word) for one in segments for word in one["transcript"].split()]


@pytest.fixture
def running():
    """Starts sandboxes and closes them."""
    held = []

    def run(**options):
        sandbox = server.start(**options)
        held.append(sandbox)
        return sandbox

    yield run
    for sandbox in held:
        sandbox.close()


@pytest.fixture
def callers():
    held = []

    def call(sandbox, **options):
        caller = Caller(sandbox, **options)
        held.append(caller)
        return caller

    yield call
    for caller in held:
        caller.close()


@pytest.fixture
def sandbox(running):
    """A sandbox that hears numbers."""
    return running(engine="numbers")


@pytest.fixture
def call(sandbox, callers):
    return callers(sandbox)


@pytest.fixture
def scripted(running, tmp_path):
    """A sandbox with the given script."""

    def run(script):
        path = tmp_path / "script.json"
        path.write_text(json.dumps(script))
        return running(script=path)

    return run
