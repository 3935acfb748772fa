"""Writes the tables of docs/reliability.md from what the runs of chaos left in build/; a column without a run stays."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
WHAT = {
    "points": "named points: a process killed at each",
    "kills": "random SIGKILL under load",
    "freezes": "workers frozen past their lease",
    "sockets": "broken, late, half-open, silent connections",
    "tokens": "tokens that expire in mid-stream",
    "scripts": "Corti down, slow, 429, 5xx, refusing, babbling, silent",
    "disk": "disk full, from each of these points on",
    "database": "database restarted, its backends killed, connections used up; SQLite locked",
    "clocks": "jumps of the wall clock by an hour",
    "race": "racing conditional creates of 50 identifiers",
    "load": "streams at the speed of speech",
}
FIGURE = {
    "points": "{killed} of {of}",
    "kills": "{kills}",
    "freezes": "{frozen}",
    "sockets": "{connections}",
    "tokens": "{expired}",
    "scripts": "{scripts} x {jobs} jobs",
    "disk": "{full} of {of}",
    "database": "each {each} times",
    "clocks": "{jumps}",
    "race": "{creates}: {exist} exist",
    "load": "{streams} for {seconds} s",
}


def main() -> int:
    text = PAGE.read_text()
    for scale in ("ci", "soak"):
        file = ROOT / "build" / f"chaos-{scale}.json"
        if file.exists():
            table = "\n".join(_table(json.loads(file.read_text())))
            begin, end = f"<!-- {scale} -->", f"<!-- end of {scale} -->"
            text = re.sub(f"(?s){begin}.*?{end}", lambda _, t=table, b=begin, e=end: f"{b}\n{t}\n{e}", text)
    PAGE.write_text(text)
    return 0


def _table(run: dict[str, Any]) -> list[str]:
    verdict = "nothing lost, doubled, stuck or leaked" if run["passed"] else "**it failed**"
    lines = [f"Seed {run['seed']}, {run['seconds']} s: {verdict}.", ""]
    lines += ["| what | database | how much | visits | words counted | lost | doubled | stuck | leaked | s |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row in run["rows"]:
        did = FIGURE[row["scenario"]].format_map(_Known(row["did"]))
        cells = [WHAT[row["scenario"]], row["database"], did, row["visits"], row["words"]]
        cells += [row[name] for name in ("lost", "doubled", "stuck", "leaked")] + [round(row["seconds"])]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


class _Known(dict[str, Any]):
    """What a scenario that failed did not come to is shown as a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"


if __name__ == "__main__":
    sys.exit(main())
