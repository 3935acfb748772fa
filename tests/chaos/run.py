"""`make chaos`: a bridge under fire on both databases, and a table of what was lost, doubled, stuck or leaked.

Each row of the table is one scenario on one database. Ends with 1 when a figure is not zero, and prints the seed that
brings the same faults again: `python tests/chaos/run.py --seed N --only NAME`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import scenarios
from hospital import Hospital, Postgres
from scenarios import POINTS, Scene, Sounds

ZERO = ("lost", "doubled", "stuck", "leaked")
# What each scenario is given: in a test of the harness, in CI, in an hour, of which each database has its half.
SCALES: dict[str, dict[str, tuple[Any, ...]]] = {
    "small": {"points": (8,), "kills": (4,), "freezes": (1,), "sockets": (10,), "tokens": (4,), "scripts": (1,),
              "disk": (6,), "database": (1,), "clocks": (2,), "race": (160,), "load": (10, 15)},
    "ci": {"points": (), "kills": (20,), "freezes": (4,), "sockets": (100,), "tokens": (40,), "scripts": (5,),
           "disk": (20,), "database": (1,), "clocks": (4,), "race": (800,), "load": (100, 60)},
    "soak": {"points": (), "kills": (100,), "freezes": (10,), "sockets": (500,), "tokens": (150,), "scripts": (25,),
             "disk": (20,), "database": (4,), "clocks": (5,), "race": (10_000,), "load": (300, 600, 1.0)},
}  # fmt: skip
# In CI each database meets about half; what only one of them can meet, it meets.
BOTH = {"points", "database"}
TURN = {"kills": 0, "freezes": 0, "sockets": 0, "tokens": 1, "scripts": 1, "disk": 0, "clocks": 0, "race": 1}
ALONE = "load"  # has the machine for itself, in the end


def main() -> int:
    wanted = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as if interrupted: PostgreSQL is told to end
    folder = Path(tempfile.mkdtemp(prefix="fhir-bridge-chaos-"))
    began = time.monotonic()
    with contextlib.closing(Postgres(folder)) as postgres:
        rows = _played(wanted, folder, postgres)
    passed = bool(rows) and all(row["passed"] for row in rows)
    _told(rows, wanted, time.monotonic() - began, passed=passed)
    if passed and not wanted.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"Kept for you: {folder}")  # noqa: T201 - a command
    return 0 if passed else 1


def _played(wanted: Any, folder: Path, postgres: Postgres) -> list[dict[str, Any]]:
    """Both databases at once, and then the load alone."""
    sounds = Sounds(folder)
    servers = {"sqlite": None, "postgresql": postgres}
    sides = [_Side(wanted, folder, sounds, servers[name]) for name in wanted.databases]
    for side in sides:
        side.start()
    for side in sides:
        side.join()
    if sides[-1].at is not None:
        sides[-1].play(ALONE)
    for side in sides:
        side.close()
    return [row for side in sides for row in side.rows]


class _Side(threading.Thread):
    """One database and its processes; runs its scenarios one after the other."""

    def __init__(self, wanted: Any, folder: Path, sounds: Sounds, postgres: Postgres | None) -> None:
        super().__init__(name="postgresql" if postgres else "sqlite", daemon=True)
        self.rows: list[dict[str, Any]] = []
        self.at: Hospital | None = None
        self._wanted, self._folder, self._sounds, self._postgres = wanted, folder, sounds, postgres
        self._seed = wanted.seed * 2 + bool(postgres)

    def run(self) -> None:
        url = self._postgres.database(self.name) if self._postgres else None
        processes = 4 if self._postgres else 1
        self.at = Hospital(self.name, self._folder / self.name, url, self._seed, web_processes=processes)
        for scenario in SCALES[self._wanted.scale]:
            both = self._wanted.scale == "soak" or scenario in BOTH or self._wanted.both
            if scenario != ALONE and (both or TURN[scenario] == bool(self._postgres)):
                self.play(scenario)

    def play(self, scenario: str) -> None:
        if scenario in (self._wanted.only or SCALES["ci"]):
            chance = random.Random(f"{self._seed}{scenario}")  # noqa: S311 - to be foretold
            scene, scale = Scene(self.at, chance, self._sounds, self._postgres, scenario), self._wanted.scale
            given = (_points(scene, scale),) if scenario == "points" else SCALES[scale][scenario]
            self.rows.append(_row(scenario, given, scene))

    def close(self) -> None:
        if self.at is not None:
            self.at.close()


def _row(scenario: str, given: tuple[Any, ...], scene: Scene) -> dict[str, Any]:
    began = time.monotonic()
    problems: list[str] = []
    try:
        getattr(scenarios, scenario)(scene, *given)
        found = scene.at.check("judge", corti=scene.at.corti)
        changed = scene.at.check("calm")["changed"]
        problems += found["details"] + [f"written after its end (L5): {one}" for one in changed]
        problems += [f"verify: {one}" for one in scene.at.verify()]
        problems += [f"leaked: {one}" for one in scene.at.leaks()]
        figures = {name: found[name] for name in ZERO} | {"visits": found["visits"], "words": found["words"]}
        problems += [f"{name}: {scene.figures[name]}" for name in _ODD if scene.figures.get(name)]
    except Exception:  # noqa: BLE001 - the other scenarios are run all the same
        problems.append(traceback.format_exc())
        figures = dict.fromkeys((*ZERO, "visits", "words"))
    row = {"scenario": scenario, "database": scene.at.name, "seed": scene.at.seed, **figures, "did": scene.figures}
    row |= {"seconds": round(time.monotonic() - began, 1), "problems": problems, "passed": not problems}
    print(json.dumps(row), flush=True)  # noqa: T201 - a command
    return row


# What a scenario says of itself that must be nothing.
_ODD = ("missed", "waited_in_vain", "uploads_damaged", "migrations_broken", "doubled", "lost", "grown", "kept", "late")


def _points(scene: Scene, scale: str) -> list[str]:
    """Every other point for each database; in an hour all of them, twice."""
    if scale == "soak":
        return [*POINTS, *POINTS]
    mine = [name for n, name in enumerate(POINTS) if n % 2 == bool(scene.postgres)]
    return scene.chance.sample(mine, *SCALES[scale]["points"]) if scale == "small" else mine


def _told(rows: list[dict[str, Any]], wanted: Any, seconds: float, *, passed: bool) -> None:
    order = {name: n for n, name in enumerate(SCALES["ci"])}
    rows.sort(key=lambda row: (order[row["scenario"]], row["database"]))
    out = {"scale": wanted.scale, "seed": wanted.seed, "seconds": round(seconds), "passed": passed, "rows": rows}
    if wanted.out:
        wanted.out.write_text(json.dumps(out, indent=1) + "\n")
    for row in rows:
        numbers = " ".join(f"{name}={row[name]}" for name in (*ZERO, "visits", "words"))
        print(f"{'ok ' if row['passed'] else 'BAD'} {row['scenario']:9} {row['database']:10} {numbers} {row['did']}")  # noqa: T201 - a command
        for problem in row["problems"]:
            print(f"      {problem}")  # noqa: T201 - a command
    print(f"seed {wanted.seed}, {round(seconds)} s: {'nothing lost' if passed else 'FAILED'}")  # noqa: T201 - a command


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="ci")
    parser.add_argument("--only", nargs="*", choices=SCALES["ci"])
    parser.add_argument("--databases", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--both", action="store_true", help="each scenario on both databases")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and databases")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
