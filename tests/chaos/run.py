"""`make chaos`: a bridge under fire on both databases, and a table of what was lost, doubled, stuck or leaked.

Each row of the table is one scenario on one database. Ends with 1 when a figure is not zero, and prints the seed that
brings the same faults again: `python tests/chaos/run.py --seed N --only NAME`.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
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
# What each scenario is given: in a test of the harness, in CI, in an hour.
SCALES: dict[str, dict[str, tuple[Any, ...]]] = {
    "small": {"points": (8,), "kills": (4,), "freezes": (1,), "sockets": (10,), "tokens": (4,), "scripts": (1,),
              "disk": (6,), "database": (1,), "clocks": (2,), "race": (160,), "load": (10, 15)},
    "ci": {"points": (None,), "kills": (20,), "freezes": (4,), "sockets": (100,), "tokens": (40,), "scripts": (5,),
           "disk": (20,), "database": (1,), "clocks": (4,), "race": (800,), "load": (100, 60)},
    "soak": {"points": (None,), "kills": (200,), "freezes": (20,), "sockets": (1000,), "tokens": (300,),
             "scripts": (50,), "disk": (20,), "database": (4,), "clocks": (10,), "race": (20_000,),
             "load": (300, 600)},
}  # fmt: skip
# In CI each database meets about half; what only one of them can meet, it meets.
BOTH = {"points", "database"}
TURN = {"kills": 0, "freezes": 1, "sockets": 0, "tokens": 1, "scripts": 1, "disk": 0, "clocks": 1, "race": 1, "load": 1}


def main() -> int:
    wanted = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="fhir-bridge-chaos-"))
    sounds = Sounds(folder)
    postgres = Postgres(folder)
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    try:
        threads = [
            threading.Thread(target=_side, args=(wanted, folder, sounds, rows, server), name=name)
            for name, server in (("sqlite", None), ("postgresql", postgres))
            if name in wanted.databases
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    finally:
        postgres.close()
    passed = bool(rows) and all(row["passed"] for row in rows)
    _told(rows, wanted, time.monotonic() - began, passed=passed)
    if passed and not wanted.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"Kept for you: {folder}")  # noqa: T201 - a command
    return 0 if passed else 1


def _side(wanted: Any, folder: Path, sounds: Sounds, rows: list[Any], postgres: Postgres | None) -> None:
    """All scenarios of one database, one after the other, on the same processes."""
    name = "postgresql" if postgres else "sqlite"
    url = postgres.database(name) if postgres else None
    seed = wanted.seed * 2 + bool(postgres)
    at = Hospital(name, folder / name, url, seed, web_processes=4 if postgres else 1)
    try:
        for scenario, given in SCALES[wanted.scale].items():
            alone = wanted.scale == "soak" or scenario in BOTH or wanted.both
            if scenario in (wanted.only or SCALES["ci"]) and (alone or TURN[scenario] == bool(postgres)):
                chance = random.Random(f"{seed}{scenario}")  # noqa: S311 - to be foretold
                rows.append(_row(scenario, given, Scene(at, chance, sounds, postgres, scenario)))
    finally:
        at.close()


def _row(scenario: str, given: tuple[Any, ...], scene: Scene) -> dict[str, Any]:
    began = time.monotonic()
    if scenario == "points":
        given = (_points(scene, given[0]),)
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
_ODD = ("missed", "uploads_damaged", "migrations_broken", "doubled", "lost", "grown", "kept", "late")


def _points(scene: Scene, count: int | None) -> list[str]:
    """Every other point for each database."""
    mine = [name for n, name in enumerate(POINTS) if n % 2 == bool(scene.postgres)]
    return mine if count is None else scene.chance.sample(mine, count)


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
