from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from fhir_bridge import errors, log
from fhir_bridge.cli import docs, pages
from fhir_bridge.cli.entry import COMMANDS
from fhir_bridge.fhir.rest.served import SERVED
from fhir_bridge.settings import Settings
from fhir_bridge.store.states import STATES


@pytest.mark.parametrize("name", pages.PAGES)
def test_a_generated_page_says_what_the_code_does(name):
    assert (docs.ROOT / name).read_text() == pages.PAGES[name](), "run `make docs`"


def test_every_setting_is_documented_with_its_default():
    page = pages.settings_page()

    for name, field in Settings.model_fields.items():
        assert f"| `FHIR_BRIDGE_{name.upper()}` |" in page
        assert str(field.description) in page


def test_every_error_is_documented_with_its_status():
    page = pages.errors_page()

    assert f"| `NotMapped` | {errors.NotMapped.status} | `not-supported` |" in page
    assert page.count("\n| `") == sum(
        isinstance(kind, type) and issubclass(kind, errors.BridgeError) for kind in vars(errors).values()
    )


def test_every_event_state_type_and_command_is_documented():
    assert all(f"`{name}`" in pages.events_page() for name in log.EVENTS)
    assert all(f"| {state.value} |" in pages.jobs_page() for state in STATES)
    assert all(f"| {row.type} |" in pages.interactions_page() for row in SERVED)
    assert all(f"## {name}" in pages.cli_page() for name in COMMANDS)
    assert "## client disable" in pages.cli_page()


def test_the_openapi_document_names_no_server_of_ours():
    assert yaml.safe_load(pages.openapi_page())["servers"] == [{"url": "/"}]


def test_stale_pages_are_named_and_written_anew(tmp_path):
    assert docs.write(tmp_path) == list(pages.PAGES)
    assert docs.stale(tmp_path) == []

    (tmp_path / "docs/errors.md").write_text("old")

    assert docs.stale(tmp_path) == ["docs/errors.md"]
    assert docs.write(tmp_path) == ["docs/errors.md"]


def test_the_check_of_a_stale_page_fails_and_says_what_to_do(monkeypatch):
    monkeypatch.setattr(docs, "stale", lambda: ["docs/errors.md"])
    answer = CliRunner().invoke(docs.command, ["--check"])

    assert answer.exit_code == 1
    assert answer.output == "docs/errors.md is stale: run `make docs`\n"


def test_the_pages_are_current_as_make_check_sees_them():
    answer = subprocess.run(
        [sys.executable, "-m", "fhir_bridge.cli.docs", "--check"], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout) == (0, "")
