"""A TCP proxy that does to connections what networks do to them; what happens follows from a seed.

Kinds: `latency` (each piece comes late), `slices` (in pieces of a few bytes), `reset` (RST after n bytes), `drop` (FIN
both ways after n bytes), `half` (one direction ends after n bytes), `blackhole` (after n bytes nothing comes through,
and some seconds later the connection is reset).
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

CUTS = ("reset", "drop", "half", "blackhole")
KINDS = ("latency", "slices", *CUTS)
BLACKHOLE_SECONDS = 2.0
PIECE = 16 * 1024


@dataclass(frozen=True)
class Fault:
    """What happens to one connection: after `at` bytes, counted upwards (to Corti) or downwards."""

    kind: str
    at: int
    up: bool


class Proxy:
    """Runs in a thread of its own; `share` of all connections are to meet a fault, if they last until then."""

    def __init__(self, target: tuple[str, int], seed: int) -> None:
        self._target = target
        self._random = random.Random(seed)  # noqa: S311 - to be foretold
        self.share = 0.0
        self.met: Counter[str] = Counter()
        self._serving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="proxy", daemon=True)
        self._thread.start()
        ready.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def cuts(self) -> int:
        """How many connections were reset, dropped, half closed or made silent until now."""
        return sum(self.met[kind] for kind in CUTS)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(self._loop)])
        self._loop.call_soon_threadsafe(lambda: self._loop.call_later(0.2, self._loop.stop))
        self._thread.join()
        self._loop.close()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._begun, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()

    def _fault(self) -> Fault | None:
        if self._random.random() >= self.share:
            return None
        kind = self._random.choice(KINDS)
        at = self._random.choice((0, 100, 700, 2_000, 20_000, 64_000, 200_000))
        return Fault(kind, at, up=self._random.random() < 0.7)

    def _begun(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold on to what serves a connection: asyncio itself does not."""
        serving = self._loop.create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._fault()
        try:
            there = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        up = self._pump(reader, there[1], fault if fault and fault.up else None)
        down = self._pump(there[0], writer, fault if fault and not fault.up else None)
        both = [asyncio.ensure_future(up), asyncio.ensure_future(down)]
        done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if any(task.result() == "cut" for task in done):
            for task in both:
                task.cancel()
            for each in (writer, there[1]):
                _reset(each)
        await asyncio.gather(*both, return_exceptions=True)
        for each in (writer, there[1]):
            with suppress(OSError):
                each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None) -> str:
        passed, met = 0, False
        with suppress(OSError):
            while piece := await reader.read(PIECE):
                passed += len(piece)
                if fault is not None and passed > fault.at:
                    self.met[fault.kind] += not met
                    met = True
                    ends = await self._meet(fault, writer, piece)
                    if ends:
                        return ends
                    continue
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
        return "ended"

    async def _meet(self, fault: Fault, writer: asyncio.StreamWriter, piece: bytes) -> str | None:
        match fault.kind:
            case "latency":
                await asyncio.sleep(0.15)
                writer.write(piece)
            case "slices":
                for at in range(0, len(piece), 7 if len(piece) < 500 else 997):
                    writer.write(piece[at : at + (7 if len(piece) < 500 else 997)])
                    await asyncio.sleep(0)
            case "half":
                writer.write_eof()
                return "half"
            case "drop":
                writer.close()
                return "cut"
            case "blackhole":
                await asyncio.sleep(BLACKHOLE_SECONDS)
                return "cut"
            case _:
                return "cut"
        await writer.drain()
        return None


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        plain = writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
