"""Many streams at the speed of speech at once: each in time, and no process grows over them (L10)."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from growth import Size, grown
from hospital import LONG, WORKERS

from fhir_bridge.sandbox.numbers import FRAME_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scenarios import Scene

RATE = 16_000
BYTES = RATE * 2  # of a second
PAUSE = 1.0
"""Between two words: so Corti tells some every 5 s and a fact every 50 s, about as it does (corti-api 3.4)."""
WARM = 4
"""How many times shorter the first wave is: still long enough for each worker to have had all its streams."""
OF_WORKER = 50
"""Streams that one worker takes at once: more than it would by itself, or the machine were full of workers."""
STREAM_KB = 256
"""What a stream may add while it lasts: its words are held until they are published."""
KEPT_KB = 24 * 1024
"""What a process may keep of a whole wave: the allocator's rest. A tenth of the audio would be more."""
SETTLED_SECONDS = 60.0


@dataclass
class Wave:
    """What was seen while many streams ran: sizes early and late in the time in which most of them ran."""

    most: int = 0
    lasted: float = 0.0
    early: dict[str, Size] = field(default_factory=dict)
    late: dict[str, Size] = field(default_factory=dict)


def load(scene: Scene, streams: int, seconds: int, most_late: float = math.inf) -> None:
    """So many streams for so long, after as many shorter ones that fill all pools; 99 in 100 pieces are no later."""
    with _at_the_speed_of_speech(scene, streams):
        _wave(scene, streams, seconds // WARM)
        warm = scene.at.sizes()
        for longer in (seconds, seconds * 2, seconds * 4):  # on a slow machine the first ends before the last begins
            known = {session["id"] for session in scene.at.sessions()}
            wave = _wave(scene, streams, longer)
            if wave.most >= streams and wave.lasted > seconds / 3:
                break
        lags = sorted(_lags([session for session in scene.at.sessions() if session["id"] not in known]))
        scene.figures |= {"streams": wave.most, "seconds": longer, "late_p99_s": lags[int(len(lags) * 0.99)]}
        scene.figures["late"] = max(0.0, scene.figures["late_p99_s"] - most_late)
        scene.figures["kb"] = {name: [at[name].kb for at in (warm, wave.early, wave.late)] for name in warm}
        scene.figures["grown"] = grown(wave.early, wave.late, most_kb=streams * STREAM_KB)
        scene.figures["kept"] = _kept(scene, warm, streams)


@contextmanager
def _at_the_speed_of_speech(scene: Scene, streams: int) -> Iterator[None]:
    """Workers that take so many streams, and send them as they were spoken."""
    faster = {"FHIR_BRIDGE_STREAM_PACE": "1", "FHIR_BRIDGE_MAX_STREAMS": str(streams * 2)}
    faster["FHIR_BRIDGE_LEASE_SECONDS"] = "30"  # as it is by itself: nobody dies here
    workers = max(WORKERS, streams // OF_WORKER)
    scene.at.renew_workers(workers, **faster, FHIR_BRIDGE_WORKER_STREAMS=str(OF_WORKER))
    try:
        yield
    finally:
        scene.at.renew_workers()


def _wave(scene: Scene, streams: int, seconds: int) -> Wave:
    """Let one begin after the other in the first half, and look every second."""
    length = round(seconds / (FRAME_SECONDS + PAUSE))
    scene.send(streams, length=length, pause=PAUSE, every=seconds / streams / 2)
    seen = list(_seen(scene, seconds))
    scene.wait(patience=max(LONG, seconds * 2))
    return _plateau(seen)


def _seen(scene: Scene, seconds: int) -> Iterator[tuple[float, int, dict[str, Size]]]:
    """Moment, streams and sizes, until none streams any more."""
    until, began = time.monotonic() + seconds * 2 + 60, False
    while time.monotonic() < until:
        streaming = scene.at.streaming()
        if began and not streaming:
            return
        began = began or streaming > 0
        yield time.monotonic(), streaming, scene.at.sizes()
        time.sleep(1.0)


def _plateau(seen: list[tuple[float, int, dict[str, Size]]]) -> Wave:
    """The first fifth of the time in which most streams ran is warming up."""
    most = max(streaming for _, streaming, _ in seen)
    those = [(at, sizes) for at, streaming, sizes in seen if streaming == most]
    early, late = those[len(those) // 5], those[-1]
    return Wave(most, late[0] - early[0], early[1], late[1])


def _kept(scene: Scene, warm: dict[str, Size], streams: int) -> list[str]:
    """What is more than after the first wave, once all has come to rest; a thread for each stream is kept."""
    until = time.monotonic() + SETTLED_SECONDS
    while (found := grown(warm, scene.at.sizes(), most_kb=KEPT_KB, most_threads=streams)) and time.monotonic() < until:
        time.sleep(1.0)
    return found


def _lags(sessions: list[dict[str, Any]]) -> Iterator[float]:
    """How much later than its sound each piece of audio came to Corti, seconds after the first of its connection."""
    for session in sessions:
        heard, began = 0, None
        for noted in session["journal"]:
            if noted["event"] == "audio":
                began = noted["at"] if began is None else began
                yield round(noted["at"] - began - heard / BYTES, 3)
                heard += noted["bytes"]
