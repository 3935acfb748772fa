from __future__ import annotations

import socket
import threading

import pytest
from flask import Flask
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection

from fhir_bridge.sandbox.wire import ConnectionClosed, Wire

UPGRADE = {
    "Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13",
}  # fmt: skip


@pytest.fixture
def ends():
    """The sandbox's end of a connection, the client's socket, and what makes its frames."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with Flask("wire").test_request_context(headers=UPGRADE, environ_base={"werkzeug.socket": ours}):
            wire = Wire(None)
        assert theirs.recv(4096).startswith(b"HTTP/1.1 101")
        yield wire, theirs, Connection(ConnectionType.CLIENT)


def test_a_client_is_heard_while_it_does_not_listen(ends):
    wire, client, frames = ends
    speaking = threading.Thread(target=wire.send, args=("x" * 20_000_000,))
    speaking.start()
    client.recv(1)  # it has begun, and the rest does not fit
    client.sendall(frames.send(BytesMessage(b"sound")))

    heard = []
    hearing = threading.Thread(target=lambda: heard.append(wire.receive(5.0)))
    hearing.start()
    hearing.join(10)
    assert speaking.is_alive()
    assert heard == [b"sound"]
    wire.reset()
    speaking.join(10)


def test_a_message_in_parts_is_one_and_a_goodbye_is_answered(ends):
    wire, client, frames = ends
    client.sendall(frames.send(BytesMessage(b"so", message_finished=False)) + frames.send(BytesMessage(b"und")))
    client.sendall(frames.send(CloseConnection(1001)))

    assert wire.receive(5.0) == b"sound"
    with pytest.raises(ConnectionClosed) as closed:
        wire.receive(5.0)
    assert closed.value.code == 1001
    frames.receive_data(client.recv(4096))
    assert [type(event) for event in frames.events()] == [CloseConnection]
