"""The image, proved without a container engine (ruling 34).

The package is built and installed as the Dockerfile does it, into a tree that belongs to root, in a
mount namespace where everything but the data directory and /dev/shm is read-only. What the Dockerfile and
compose.yaml say is then started there as uid 10001 without any capability.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
import yaml

from fhir_bridge import settings
from fhir_bridge.cli.entry import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).parents[2]
UID = 10001
IN_A_CONTAINER = "0.0.0.0"  # noqa: S104 - there; here only this machine is listened to
# Inside the namespace: the interpreter and what it needs become visible to everyone, then nothing can be written.
ENTER = """
set -e
mount --make-rprivate /
mount --bind "$PYTHON" "$TREE/python"
mount --bind "$SITE" "$TREE/site"
mount --bind "$TREE/data" "$TREE/data"
for each in "$TREE/python" "$TREE/site" /; do mount -o remount,bind,ro "$each"; done
exec setpriv --reuid {uid} --regid {uid} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs \
  env --ignore-environment {environment} {command}
"""


@dataclass(frozen=True)
class Image:
    """What the Dockerfile's last stage says."""

    entrypoint: list[str]
    cmd: list[str]
    health: list[str]
    user: str
    environment: dict[str, str]


def image() -> Image:
    text = (REPO / "Dockerfile").read_text().replace("\\\n", " ")
    last = text[text.rindex("\nFROM ") :]
    [environment] = re.findall(r"^ENV (.+)$", last, re.MULTILINE)
    return Image(
        entrypoint=json.loads(re.findall(r"^ENTRYPOINT (.+)$", last, re.MULTILINE)[0]),
        cmd=json.loads(re.findall(r"^CMD (.+)$", last, re.MULTILINE)[0]),
        health=json.loads(re.findall(r"^HEALTHCHECK .*?CMD (.+)$", last, re.MULTILINE)[0]),
        user=re.findall(r"^USER (.+)$", last, re.MULTILINE)[0],
        environment=dict(each.split("=", 1) for each in shlex.split(environment)),
    )


def services() -> dict[str, dict]:
    return yaml.safe_load((REPO / "compose.yaml").read_text())["services"]


def why_not() -> str | None:
    if os.geteuid() != 0:
        return "only root can become another user"
    if not all(map(shutil.which, ("unshare", "setpriv", "mount"))):
        return "needs util-linux"
    tried = subprocess.run(  # noqa: S603 - our own words
        [*_unshared("mount --make-rprivate / && mount -o remount,bind,ro /")], capture_output=True, check=False
    )
    return None if tried.returncode == 0 else "file systems cannot be mounted here"


def _unshared(script: str) -> list[str]:
    return [shutil.which("unshare") or "unshare", "--mount", "sh", "-c", script]


needs_root = pytest.mark.skipif(bool(why_not()), reason=str(why_not()))


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """The package as its wheel installs it, in a folder that everyone may read and root alone may write."""
    tree = Path(tempfile.mkdtemp(prefix="fhir-bridge-image-"))
    tree.chmod(0o755)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", tree / "app", REPO], check=True)  # noqa: S603 - our own words
    for name in ("python", "site"):
        (tree / name).mkdir()
    yield tree
    shutil.rmtree(tree)


@pytest.fixture
def tree(installed: Path) -> Iterator[Path]:
    """The same with an empty data directory of uid 10001."""
    data = installed / "data"
    data.mkdir(mode=0o700)
    os.chown(data, UID, UID)
    yield installed
    shutil.rmtree(data)


def bridge(tree: Path, *arguments: str) -> list[str]:
    python = tree / "python" / "bin" / Path(sys.executable).resolve().name
    return [str(python), str(tree / "app" / "bin" / image().entrypoint[0]), *arguments]


def entering(tree: Path, command: list[str]) -> list[str]:
    """Return what runs `command` as the image would."""
    declared = image().environment | {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tree / "data"),
        "FHIR_BRIDGE_DATA_DIR": str(tree / "data"),
        "PYTHONPATH": f"{tree / 'app'}:{tree / 'site'}",
        "LD_LIBRARY_PATH": str(tree / "python" / "lib"),  # this interpreter's own, wherever it was built for
    }
    environment = shlex.join(f"{name}={value}" for name, value in declared.items())
    return _unshared(ENTER.format(uid=UID, environment=environment, command=shlex.join(command)))


def outside(tree: Path) -> dict[str, str]:
    site = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    return {"PATH": os.environ["PATH"], "PYTHON": sys.base_prefix, "SITE": str(site), "TREE": str(tree)}


def ran(tree: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own words
        entering(tree, command), env=outside(tree), cwd="/", capture_output=True, text=True, check=False
    )


@contextmanager
def started(tree: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run it, and see it end by itself with 0 when it is asked to."""
    with (tree / "log").open("w+") as written:
        running = subprocess.Popen(  # noqa: S603 - our own words
            entering(tree, bridge(tree, *arguments)),
            env=outside(tree),
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
        )
        try:
            running.log = tree / "log"
            yield running
            running.send_signal(signal.SIGTERM)
            assert running.wait(timeout=30) == 0, (tree / "log").read_text()
        finally:
            running.kill()
            running.wait()
            running.stdout.close()


def here(arguments: list[str]) -> list[str]:
    """The arguments of the image, listening to this machine alone, on a port that is free."""
    assert IN_A_CONTAINER in arguments
    return [*(each.replace(IN_A_CONTAINER, "127.0.0.1") for each in arguments), "--port", "0"]


def url_of(running: subprocess.Popen[str]) -> str:
    found = re.search(r"http://127\.0\.0\.1:\d+", running.stdout.readline())
    assert found, running.log.read_text()
    return found[0]


def ready(url: str) -> requests.Response:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            return requests.get(f"{url}/health/ready", timeout=5)
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError(url)


@needs_root
def test_the_image_starts_as_an_unprivileged_user_on_a_read_only_tree(tree):
    with started(tree, *here(image().cmd)) as running:
        url = url_of(running)
        answer = ready(url)
        inside = Path(f"/proc/{running.pid}/status").read_text()
        healthy = subprocess.run(  # noqa: S603 - the image's own health check
            [sys.executable, *(each.replace("http://127.0.0.1:8080", url) for each in image().health[1:])], check=False
        )

    assert (answer.status_code, answer.json()["status"]) == (200, "up")
    assert re.findall(r"^Uid:\s+(.+)$", inside, re.MULTILINE)[0].split() == [str(UID)] * 4
    assert re.findall(r"^CapEff:\s+(.+)$", inside, re.MULTILINE) == ["0" * 16]
    assert image().health[0] == "python"
    assert healthy.returncode == 0
    written = {path.stat().st_uid for path in (tree / "data").rglob("*")}
    assert written == {UID}


@needs_root
def test_the_parts_start_one_by_one_as_compose_does(tree):
    migrate, web, worker = (services()[name]["command"] for name in ("migrate", "web", "worker"))
    migrated = ran(tree, bridge(tree, *migrate))
    assert migrated.returncode == 0, migrated.stderr
    with started(tree, *worker), started(tree, *here(web)) as running:
        answer = ready(url_of(running))

    assert answer.status_code == 200


@needs_root
def test_nothing_can_be_written_beside_the_data_directory(tree):
    for place in (tree / "app", tree / "site", Path("/tmp"), Path("/usr")):  # noqa: S108 - to be refused
        tried = ran(tree, ["touch", str(place / "fhir-bridge-was-here")])
        assert "Read-only file system" in tried.stderr, place
    assert ran(tree, ["touch", str(tree / "data" / "fhir-bridge-was-here")]).returncode == 0


def test_the_image_has_no_root_no_shell_form_and_no_secret():
    declared = image()

    assert declared.user == f"{UID}:{UID}"
    assert declared.entrypoint == ["fhir-bridge"]
    assert declared.cmd[0] in COMMANDS
    for name in declared.environment:
        if name.startswith(settings.PREFIX):
            assert name.removeprefix(settings.PREFIX).lower() in settings.Settings.model_fields
            assert name.removeprefix(settings.PREFIX).lower() not in settings.SECRETS


def test_the_image_holds_what_the_dockerignore_lets_through():
    wanted = re.findall(r"^COPY (?!--from)(.+)$", (REPO / "Dockerfile").read_text(), re.MULTILINE)
    copied = {source for line in wanted for source in line.split()[:-1]}
    let_through = {line[1:] for line in (REPO / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert copied == let_through
    assert all((REPO / source).exists() for source in copied)


@pytest.mark.parametrize("name", ["proxy", "web", "worker", "migrate", "database"])
def test_every_service_of_compose_is_confined(name):
    service = services()[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert str(service["user"]) in {f"{UID}:{UID}", "101:101", "postgres"}
    assert service["healthcheck"]


@pytest.mark.parametrize("name", ["web", "worker", "migrate"])
def test_compose_gives_settings_that_exist_and_secrets_as_files(name):
    service = services()[name]
    declared = yaml.safe_load((REPO / "compose.yaml").read_text())["secrets"]
    fields = {variable.removeprefix(settings.PREFIX).lower() for variable in service["environment"]}
    from_file = {field.removesuffix("_file") for field in fields if field.endswith("_file")}

    assert service["command"][0] in COMMANDS
    assert {"database_url", "secret_key", "corti_client_secret"} <= from_file <= set(settings.FROM_FILE)
    assert {field for field in fields if not field.endswith("_file")} <= set(settings.Settings.model_fields)
    assert set(service["secrets"]) == from_file <= set(declared)


def test_compose_asks_for_health_as_the_image_does():
    assert services()["web"]["healthcheck"]["test"] == ["CMD", *image().health]


def test_compose_lets_the_proxy_alone_be_reached_and_the_database_reach_nothing():
    declared = yaml.safe_load((REPO / "compose.yaml").read_text())

    assert [name for name, service in services().items() if "ports" in service] == ["proxy"]
    assert services()["database"]["networks"] == ["inside"]
    assert declared["networks"]["inside"] == {"internal": True}
    assert set(services()["proxy"]["networks"]) == {"front"}
    assert services()["worker"]["deploy"]["replicas"] == 2


def test_web_believes_what_the_proxy_of_compose_says_of_clients_and_nobody_else():
    address = services()["proxy"]["networks"]["front"]["ipv4_address"]

    assert json.loads(services()["web"]["environment"]["FHIR_BRIDGE_TRUSTED_PROXIES"]) == [address]


def test_the_proxy_takes_what_the_bridge_takes_buffers_it_and_hides_what_is_for_operators():
    written = (REPO / "deploy" / "nginx.conf").read_text()
    most = int(re.findall(r"client_max_body_size (\d+)m;", written)[0]) * 2**20

    assert most >= settings.Settings().max_binary_bytes
    assert most >= settings.Settings().max_inline_audio_bytes * 4 / 3
    assert "proxy_request_buffering on;" in written
    assert "proxy_next_upstream off;" in written
    assert "location = /metrics { return 404; }" in written
    outcomes = [json.loads(each) for each in re.findall(r"return \d+ '(.+)';", written)]
    assert [each["issue"][0]["code"] for each in outcomes] == ["throttled", "transient"]
    assert all(f"./{place}" in str(services()["proxy"]["volumes"]) for place in ("deploy/nginx.conf",))
