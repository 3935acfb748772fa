from __future__ import annotations

import subprocess
import sys

import click
import pytest

from fhir_bridge.cli import entry, main
from fhir_bridge.errors import BridgeError

PUBLIC = "demo serve web worker migrate sandbox client tenant user check verify purge reindex erase rotate-keys"


def test_the_commands_are_those_of_the_public_interface():
    assert " ".join(entry.COMMANDS) == PUBLIC


def test_without_a_command_the_help_is_shown(run):
    answer = run()

    assert answer.status == 0
    assert all(name in answer.out for name in entry.COMMANDS)


@pytest.mark.parametrize("name", entry.COMMANDS)
def test_every_command_has_help_that_begins_with_what_it_does(run, name):
    answer = run(name, "--help")

    assert answer.status == 0
    assert answer.out.startswith(f"Usage: fhir-bridge {name}")
    assert "--attended" not in answer.out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nonsense"], "nonsense"),
        (["serve", "--nonsense"], "--nonsense"),
        (["serve", "--port", "many"], "--port"),
        (["serve", "--sandbox-script", "missing.json"], "missing.json"),
        (["client", "add"], "NAME"),
        (["client", "nonsense"], "nonsense"),
        (["sandbox", "--port", "70000"], "--port"),
    ],
)
def test_wrong_use_is_one_line_on_stderr_that_names_the_option_and_where_help_is(run, arguments, named):
    answer = run(*arguments)

    assert answer.status == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert named in answer.err
    assert "--help" in answer.err
    assert "Usage:" not in answer.err


def test_an_unknown_setting_names_the_nearest_known_one(run):
    answer = run("client", "list", data_dirs="x")

    assert answer.status == 2
    assert answer.err == ("fhir-bridge: FHIR_BRIDGE_DATA_DIRS is not a setting; did you mean FHIR_BRIDGE_DATA_DIR?\n")


def test_a_folder_that_cannot_be_made_is_named(run):
    answer = run("client", "list", data_dir="/proc/nowhere")

    assert answer.status == 1
    assert answer.err == "fhir-bridge: /proc/nowhere: No such file or directory\n"


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name", "sqlite+nonsense:///x"])
def test_a_database_of_another_kind_is_wrong_use(run, url):
    answer = run("client", "list", database_url=url)

    assert answer.status == 2
    assert "FHIR_BRIDGE_DATABASE_URL must be sqlite:///FILE" in answer.err


@pytest.mark.parametrize("command", [["client", "list"], ["migrate"], ["worker"], ["web", "--port", "0"]])
def test_a_database_that_cannot_be_reached_is_named_without_its_password(run, command):
    answer = run(*command, database_url="postgresql+psycopg://me:hush@127.0.0.1:1/none")

    assert answer.status == 1
    assert "FHIR_BRIDGE_DATABASE_URL" in answer.err
    assert "hush" not in answer.err


@pytest.mark.parametrize("command", [["worker"], ["web", "--port", "0"]])
def test_those_who_serve_do_not_migrate_but_say_who_does(run, command):
    answer = run(*command)

    assert answer.status == 2
    assert "run `fhir-bridge migrate`" in answer.err


def test_migrate_can_be_repeated(run):
    assert run("migrate").out == run("migrate").out == "The database is at this version.\n"


def test_ctrl_c_is_no_failure_to_explain(monkeypatch, capsys):
    monkeypatch.setattr(entry.root, "callback", _raise(KeyboardInterrupt))

    assert entry.run(["migrate"]) == 130
    assert capsys.readouterr().err.strip() == ""


def test_an_error_names_its_element_once(monkeypatch, capsys):
    monkeypatch.setattr(entry.root, "callback", _raise(BridgeError("It is too long", at="a.file")))

    assert entry.run(["migrate"]) == 1
    assert capsys.readouterr().err == "fhir-bridge: a.file: It is too long\n"


def test_a_click_exception_of_many_lines_becomes_one(monkeypatch, capsys):
    monkeypatch.setattr(entry.root, "callback", _raise(click.ClickException("one\ntwo")))

    assert entry.run(["migrate"]) == 1
    assert capsys.readouterr().err == "fhir-bridge: one two\n"


def test_main_ends_the_interpreter_with_the_status():
    with pytest.raises(SystemExit) as ended:
        main(["nonsense"])
    assert ended.value.code == 2


def test_the_module_can_be_run_like_the_script(tmp_path):
    answer = subprocess.run(
        [sys.executable, "-m", "fhir_bridge.cli", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.startswith("fhir-bridge, version ")


def _raise(failure):
    def callback(**_):
        raise failure

    return callback
