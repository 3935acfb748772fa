"""The parts of serve that need no whole bridge: sockets, children, lifeline, gunicorn's log."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from gunicorn.config import Config

from fhir_bridge import log
from fhir_bridge.cli import children, gunicorn_server
from fhir_bridge.cli.children import Child, Part
from fhir_bridge.cli.listening import bound, url_of
from fhir_bridge.settings import Settings, environment

SANDBOX = ("sandbox", "--port", "0", "--engine", "numbers")


@pytest.fixture
def stderr(tmp_path):
    with (tmp_path / "stderr").open("w+b") as file:
        yield file


def child(*arguments: str, stderr=None, **settings: str) -> Child:
    return Child(Part(arguments[0], arguments, environment(**settings)), stderr)


def gone(pid: int) -> bool:
    """Tell whether a process has ended; one that nobody waits for any more counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def until(met, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not met() and time.monotonic() < end:
        time.sleep(0.05)
    return met()


# --- listening -----------------------------------------------------------------------------


def test_any_free_port_is_part_of_the_url():
    with bound("127.0.0.1", 0) as listener:
        assert url_of(listener, Settings()) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_url_that_was_set_counts():
    with bound("127.0.0.1", 0) as listener:
        assert url_of(listener, Settings(public_url="https://bridge.example.org/")) == "https://bridge.example.org"


def test_whoever_listens_everywhere_is_found_on_loopback():
    with bound("0.0.0.0", 0) as listener:  # noqa: S104 - that is the case
        assert url_of(listener, Settings()).startswith("http://127.0.0.1:")


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_ipv6_address_stands_in_brackets():
    with bound("::1", 0) as listener:
        assert url_of(listener, Settings()).startswith("http://[::1]:")


def test_a_port_in_use_is_named_with_a_remedy():
    with bound("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(click.ClickException, match=f"--port {port} on 127.0.0.1: it is in use"):
            bound("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_a_host_that_is_not_this_machine_is_named(host):
    with pytest.raises(click.ClickException, match="--host is no address of this machine"):
        bound(host, 0)


# --- children ------------------------------------------------------------------------------


def test_a_child_that_dies_is_started_again_after_a_pause(stderr):
    one = child(*SANDBOX, stderr=stderr)
    one.first_line(60)
    first = one.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: not one.alive())

    one.tend()
    assert not one.alive()  # it has to wait

    assert until(lambda: one.tend() or one.alive())
    assert one.pid != first
    one.first_line(60)
    children.stop([[one]])
    assert gone(one.pid)


def test_a_child_that_dies_again_and_again_waits_longer(stderr, monkeypatch):
    monkeypatch.setattr(children, "FIRST_PAUSE", 0.2)
    one = child("sandbox", "--engine", "nonsense", stderr=stderr)
    pauses = []
    for _ in range(2):
        until(lambda: not one.alive())
        one.tend()
        before = time.monotonic()
        until(lambda: one.tend() or one.alive())
        pauses.append(time.monotonic() - before)
    children.stop([[one]])

    assert one.deaths == 2
    assert 0.2 <= pauses[0] < 0.4 <= pauses[1]


def test_a_child_whose_setting_is_wrong_is_not_started_again(stderr):
    one = child("sandbox", "--port", "nonsense", stderr=stderr)
    until(lambda: not one.alive())

    with pytest.raises(click.ClickException, match="sandbox cannot start"):
        one.tend()
    children.stop([[one]])


def test_a_child_that_says_nothing_did_not_start(stderr):
    one = child("sandbox", "--engine", "nonsense", stderr=stderr)

    with pytest.raises(click.ClickException, match="sandbox did not start"):
        one.first_line(30)
    children.stop([[one]])


def test_a_child_that_does_not_stop_is_killed(stderr, monkeypatch):
    monkeypatch.setattr(children, "STOP_SECONDS", 0.5)
    one = child(*SANDBOX, stderr=stderr)
    one.first_line(60)
    os.kill(one.pid, signal.SIGSTOP)

    children.stop([[one]])

    assert gone(one.pid)


def test_a_child_ends_with_its_parent_however_that_dies(tmp_path):
    program = (
        "from fhir_bridge.cli.children import Child, Part\n"
        "from fhir_bridge.settings import environment\n"
        f"one = Child(Part('sandbox', {SANDBOX!r}, environment()))\n"
        "one.first_line(60)\n"
        "print(one.pid, flush=True)\n"
        "input()\n"
    )
    parent = subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", program], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()

    assert until(lambda: gone(pid))


def test_the_sandbox_takes_its_credentials_from_the_settings(stderr):
    one = child(*SANDBOX, stderr=stderr, corti_client_id="id", corti_client_secret="hush", corti_tenant="north")
    line = one.first_line(60)
    children.stop([[one]])

    assert b'"client_id": "id"' in line
    assert b'"client_secret": "hush"' in line
    assert b'"tenant": "north"' in line


def test_a_port_of_the_sandbox_that_is_taken_is_named(run):
    with bound("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        answer = run("sandbox", "--port", port)

    assert (answer.status, answer.out) == (1, "")
    assert f"--port {port} on 127.0.0.1: it is in use" in answer.err


def test_a_script_that_is_none_is_named(run, tmp_path):
    (tmp_path / "script.json").write_text("{")
    answer = run("sandbox", "--port", "0", "--script", "script.json")

    assert answer.status == 1
    assert "script.json is no sandbox script" in answer.err
    assert answer.err.count("\n") == 1


def test_a_missing_extra_is_told_with_how_to_install_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "fhir_bridge.sandbox.server", None)
    answer = run("sandbox", "--port", "0")

    assert (answer.status, answer.err) == (
        1,
        "fhir-bridge: The sandbox is not installed: pip install 'fhir-bridge[sandbox]'\n",
    )


def test_a_script_without_the_sandbox_is_wrong_use(run, tmp_path):
    (tmp_path / "script.json").write_text("{}")
    answer = run("serve", "--port", "0", "--sandbox-script", "script.json")

    assert answer.status == 2
    assert "--sandbox-script needs --sandbox" in answer.err


# --- gunicorn's log --------------------------------------------------------------------------


def test_gunicorn_is_heard_as_events_that_hold_no_url(capsys):
    log.to_stderr()
    quiet = gunicorn_server.Quiet(Config())
    try:
        int("GET /fhir/Patient?name=Berg")
    except ValueError:
        quiet.exception("Error handling request %s", "/fhir/Patient?name=Berg")
        quiet.warning("Invalid request from ip=1.2.3.4: Invalid header: Berg")
    quiet.error("Worker (pid:%s) was sent %s", 7, "SIGKILL")
    quiet.critical("Berg")
    quiet.info("Berg")
    quiet.access("Berg")

    told = capsys.readouterr().err
    assert "Berg" not in told
    assert '"message": "Error handling request %s", "error": "ValueError"' in told
    assert '"message": "Worker (pid:%s) was sent %s", "error": null' in told
    assert told.count('"event": "web.server"') == len(told.splitlines()) == 4
