"""The README's walk-through, run as it stands there, and its map, compared with the tree."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fhir_bridge import log

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(str(path.relative_to(REPO)) for path in REPO.glob("docs/**/*.md"))]
README = (REPO / "README.md").read_text()
SCRIPT = {
    "utterances": [{"start": 1.0, "end": 3.0, "speaker": 0, "channel": 0, "text": "I am allergic to penicillin."}],
    "facts": [{"at": 2.0, "group": "allergies", "text": "Allergic to penicillin"}],
}
# What is logged when all goes well, from the first request to the last result.
MAIN_PATH = {
    "service.started",
    "web.request",
    "oauth.token",
    "job.accepted",
    "job.started",
    "job.finished",
    "corti.token",
    "corti.request",
}
# After the walk-through: wait for the end, then look once more as the README does.
ENDING = """
for attempt in $(seq 150); do
  STATUS=$(fhir "$BASE/fhir/Task?focus=Media/$MEDIA" | jq -r '.entry[0].resource.status')
  if [ "$STATUS" = completed ]; then break; fi
  sleep 0.2
done
echo "status $STATUS"
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[str, dict[str, str], Path]]:
    """`make run`, but in a folder of its own, fast and with fixed words; its URL, environment and log."""
    (tmp_path / "script.json").write_text(json.dumps(SCRIPT))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FHIR_BRIDGE_")}
    environment |= {"FHIR_BRIDGE_DATA_DIR": str(tmp_path / "data"), "FHIR_BRIDGE_STREAM_PACE": "40"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fhir_bridge.cli", "serve", "--port=0", "--sandbox", "--sandbox-script=script.json"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield re.findall(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0], environment, tmp_path / "log"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=40)
            process.stdout.close()


@pytest.mark.skipif(not all(map(shutil.which, ("bash", "curl", "jq"))), reason="needs bash, curl and jq")
def test_the_walk_through_of_the_readme_works_as_it_stands(running):
    url, environment, written = running
    steps = re.findall(r"## By hand.*?```sh\n(.+?)```", README, re.DOTALL)[0]
    steps = steps.replace("BASE=http://127.0.0.1:8080", f"BASE={url}")
    steps = steps.replace(".venv/bin/fhir-bridge", f"{shlex.quote(sys.executable)} -m fhir_bridge.cli")
    everything = steps[steps.index("# progress") :]

    walked = subprocess.run(  # noqa: S603 - what the README tells to run
        [shutil.which("bash"), "-euo", "pipefail", "-c", steps + ENDING + everything],
        cwd=REPO,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert walked.returncode == 0, walked.stderr
    said = walked.stdout.splitlines()
    assert said[0] in {"accepted", "in-progress"}
    assert "status completed" in said
    after = said[said.index("status completed") :]
    assert "Allergies: Allergic to penicillin" in after
    of = [line.partition("/")[0] for line in after]
    assert {"Encounter", "Media", "Task", "Observation", "DocumentReference", "Provenance"} <= set(of)
    told_nothing(written.read_text())


def told_nothing(written: str) -> None:
    """The log has every step, only in declared events, and no word that was spoken, sent or asked for."""
    events = [json.loads(line) for line in written.splitlines()]

    assert {event["event"] for event in events} <= set(log.EVENTS)
    assert {event["event"] for event in events} >= MAIN_PATH
    for secret in ("penicillin", "visit-1", "walkthrough", "grant_type", "focus=", "encounter=", "eyJ"):
        assert secret not in written


def test_the_map_of_the_code_matches_the_tree():
    drawn = set(re.findall(r"^\| `fhir_bridge/([a-z]+)` \|", README, re.MULTILINE))
    packages = {path.parent.name for path in (REPO / "fhir_bridge").glob("*/__init__.py")}

    assert drawn == packages


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", (REPO / page).read_text())

    assert not [link for link in links if not (REPO / page).parent.joinpath(link).exists()]


@pytest.mark.parametrize("folder", ["docs", "docs/decisions", "docs/security"])
def test_every_page_of_a_folder_stands_in_its_index(folder):
    index = (REPO / folder / "README.md").read_text()
    pages = {path.name for path in (REPO / folder).glob("*.md")} - {"README.md"}

    assert {name for name in pages if f"({name})" not in index} == set()


def test_the_readme_promises_targets_that_make_has():
    promised = set(re.findall(r"`?make ([a-z]+)", README))
    targets = set(re.findall(r"^([a-z]+):.*## ", (REPO / "Makefile").read_text(), re.MULTILINE))

    assert promised <= targets
