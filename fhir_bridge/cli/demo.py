"""`fhir-bridge demo`: the whole way through the front door, with nothing but this machine or with a Corti account."""

from __future__ import annotations

import signal
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from fhir_bridge import clock, net, settings
from fhir_bridge.cli import screen, visit
from fhir_bridge.cli.client import Proof, registered
from fhir_bridge.cli.ehr import SCOPE, Ehr, entries, new_key, public_jwks
from fhir_bridge.cli.listening import HOST, PORT
from fhir_bridge.cli.opened import store_of
from fhir_bridge.cli.service import Service, Wishes
from fhir_bridge.corti.endpoint import endpoint_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from fhir_bridge.settings import Settings

SANDBOX_PACE: Final = 4.0  # ruling 30
CORTI_PACE: Final = 1.0
_LOOK_SECONDS: Final = 0.7
_PATIENCE: Final = 300.0  # beyond three times the length of the recording
_LOG_LINES: Final = 8
_FAULTS: Final = ("web.failed", "web.server", "job.fault", "sweep.failed", "service.child_died")
_PAGES: Final = (("FHIR", "/fhir/metadata"), ("Swagger UI", "/docs"), ("Console page", "/console"))


@dataclass(frozen=True)
class Stage:
    """What a demo runs on: its own settings in its own folder, which is gone afterwards."""

    wanted: Settings
    folder: Path
    sandbox: bool
    pace: float

    @property
    def given(self) -> dict[str, str]:
        """Return what the children are told: a demo never touches the data of a bridge that is in use."""
        return {
            "data_dir": str(self.folder),
            "database_url": str(self.wanted.database_url),
            "audio_url": str(self.wanted.audio_url),
            "stream_pace": str(self.pace),
        }


@click.command("demo")
@click.option("--audio", metavar="FILE", type=click.Path(path_type=Path), help="A recording; unset: a sample.")
@click.option("--transport", type=click.Choice(["stream", "recording"]), help="How it reaches Corti.")
@click.option("--exit", "leave", is_flag=True, help="Stop afterwards; 0 only if facts came back.")
@click.option("--output", metavar="FILE", type=click.Path(path_type=Path), help="Write all resources as one Bundle.")
@click.option("--port", type=click.IntRange(0, 65535), help=f"Unset: {PORT}, or any free one.")
def command(audio: Path | None, *, transport: str | None, leave: bool, output: Path | None, port: int | None) -> None:
    """Post a recorded consultation as an EHR would, and show what comes back as FHIR.

    Without a Corti account the local sandbox listens; with one in .env or FHIR_BRIDGE_CORTI_* it is Corti itself.
    Everything is kept in a folder of its own, which is removed at the end.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out = screen.console()
    with _stage() as stage:
        out.print(_partner(stage), soft_wrap=True)
        recording = visit.recording_of(audio or _sample())
        with _running(stage, port) as service:
            _tell_of(out, service, recording)
            facts = _story(out, service, stage, recording, transport=transport, output=output)
            if not facts:
                raise click.ClickException("No facts came back")
            _places(out, service, stage, leave=leave)
            if not leave:
                _until_ctrl_c(service)


def _until_ctrl_c(service: Service) -> None:
    with suppress(KeyboardInterrupt):
        while True:
            service.tend()
            clock.sleep(_LOOK_SECONDS)


def _partner(stage: Stage) -> str:
    if stage.sandbox:
        return (
            "This demo talks to the local Corti sandbox, since no Corti account is configured: "
            "not Corti, not for clinical use."
        )
    wanted = stage.wanted
    end = endpoint_of(wanted.corti_environment, wanted.corti_tenant, wanted.corti_api_url, wanted.corti_auth_url)
    return f"This demo talks to Corti at {end.api_url}, tenant {end.tenant}: the recording is sent there."


def _sample() -> Path:
    from fhir_bridge.sandbox import sample  # noqa: PLC0415 - a part of an extra, which may not be installed

    return sample.path()


@contextmanager
def _stage() -> Iterator[Stage]:
    found = settings.load()
    has_account = found.corti_client_id is not None and found.corti_client_secret is not None
    with tempfile.TemporaryDirectory(prefix="fhir-bridge-demo-") as name:
        folder = Path(name)
        own = {
            "data_dir": folder,
            "database_url": f"sqlite:///{folder}/fhir-bridge.db",
            "audio_url": str(folder / "audio"),
            "public_url": None,
        }
        pace = CORTI_PACE if has_account else SANDBOX_PACE
        if settings.sources()["stream_pace"] != "default":
            pace = found.stream_pace
        yield Stage(found.model_copy(update=own), folder, sandbox=not has_account, pace=pace)


@contextmanager
def _running(stage: Stage, port: int | None) -> Iterator[Service]:
    """Run the service; when the demo fails, what its parts said of faults is shown."""
    log_file = stage.folder / "log.jsonl"
    with log_file.open("wb") as stderr:
        service = Service(stage.wanted, _wishes(stage, port), given=stage.given, stderr=stderr)
        try:
            service.start()
            yield service
        except click.ClickException:
            for line in _faults(log_file):
                click.echo(line, err=True)
            raise
        finally:
            service.stop()


def _faults(log_file: Path) -> list[str]:
    """Return the last lines that are no events, and the last events of faults."""
    lines = log_file.read_text(errors="replace").splitlines()
    return [line for line in lines if not line.startswith("{") or any(name in line for name in _FAULTS)][-_LOG_LINES:]


def _wishes(stage: Stage, port: int | None) -> Wishes:
    return Wishes(HOST, PORT if port is None else port, sandbox=stage.sandbox, any_port=port is None)


def _tell_of(out: Console, service: Service, recording: visit.Recording) -> None:
    length = "" if recording.seconds is None else f", {recording.seconds:.0f} s"
    heard = f", heard by {service.engine}" if service.engine else ""
    kind = f"{recording.file.name} ({recording.mime}{length})"
    out.print(f"The bridge runs at {service.url}. The recording is {kind}{heard}.\n", soft_wrap=True)


def _story(
    out: Console,
    service: Service,
    stage: Stage,
    recording: visit.Recording,
    *,
    transport: str | None,
    output: Path | None,
) -> tuple[visit.Fact, ...]:
    """Be an EHR: register, get a token, post, follow, read."""
    key = new_key()
    with store_of(stage.wanted) as store:
        client = registered(store, "demo EHR", Proof(jwks=public_jwks(key)), scope=SCOPE)
    ehr = Ehr(service.url, str(client["client_id"]), key)
    encounter, media = visit.post(ehr, recording, transport=transport)
    with screen.Hearing(out, recording) as hearing:
        status = _followed(service, ehr, (encounter, media), hearing, patience=_patience(recording, stage))
    if status.ended != "completed":
        raise click.ClickException(f"Task {status.ended or 'still running'}: {status.reason or status.phase}")
    if status.reason:
        out.print(f"Warning: {status.reason}")
    text = ehr.text(f"Encounter/{encounter}/$everything")
    out.print(screen.facts_table(status.facts), screen.resources_table(entries(text)))
    if output is not None:
        output.write_text(text)
        out.print(f"All resources are in {output}.", soft_wrap=True)
    return status.facts


def _followed(
    service: Service, ehr: Ehr, ids: tuple[str, str], hearing: screen.Hearing, *, patience: float
) -> visit.Status:
    until = clock.monotonic() + patience
    while True:
        status = visit.look(ehr, *ids)
        hearing.show(status)
        if status.ended or clock.monotonic() > until:
            return status
        service.tend()
        clock.sleep(_LOOK_SECONDS)


def _patience(recording: visit.Recording, stage: Stage) -> float:
    return _PATIENCE + 3 * (recording.seconds or 3600.0) / min(stage.pace, 1.0)


def _places(out: Console, service: Service, stage: Stage, *, leave: bool) -> None:
    """Print URLs that are served, and nothing else (ruling 30)."""
    session = net.session()
    if not leave:
        with store_of(stage.wanted) as store:
            client = registered(store, "demo visitor", Proof(secret=True), scope=SCOPE)
        out.print(
            f"Authorize there with client id {client['client_id']} and secret {client['client_secret']}", soft_wrap=True
        )
    for name, path in _PAGES:
        if session.get(service.url + path).ok:
            out.print(f"{name}: {service.url}{path}", soft_wrap=True)
    if not leave:
        out.print("Ctrl-C stops everything.")
