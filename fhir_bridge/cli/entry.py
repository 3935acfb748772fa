"""Finds the command, runs it, and turns whatever it raises into one line on stderr and an exit status."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn

import click

from fhir_bridge.errors import BadSetting, BridgeError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = "fhir-bridge"
COMMANDS: Final = (
    "demo",
    "serve",
    "web",
    "worker",
    "migrate",
    "sandbox",
    "client",
    "tenant",
    "user",
    "check",
    "verify",
    "purge",
    "rotate-keys",
)
FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


class _Commands(click.Group):
    """Imports a command's file only when it is asked for: `--help` of one does not load the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f"fhir_bridge.cli.{cmd_name.replace('-', '_')}").command
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name=NAME)
def root() -> None:
    """Corti's ambient speech AI for any EHR, through FHIR R4 and SMART on FHIR.

    Settings come from FHIR_BRIDGE_* variables and from a .env file in the current folder; `check` shows them all.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the console script."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 for failure, 2 for wrong use."""
    try:
        return root.main(arguments, prog_name=NAME, standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as asked:
        click.echo(asked.format_message())
        return 0
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except (click.ClickException, BridgeError, OSError) as failure:
        text, status = _said(failure)
        click.echo(f"{NAME}: {' '.join(text.split())}", err=True)
        return status


def _said(failure: click.ClickException | BridgeError | OSError) -> tuple[str, int]:
    if isinstance(failure, click.UsageError):
        return f"{failure.format_message().rstrip('.')} (see {_path(failure)} --help)", WRONG_USE
    if isinstance(failure, click.ClickException):
        return failure.format_message(), failure.exit_code
    if isinstance(failure, BridgeError):
        return _worded(failure), WRONG_USE if isinstance(failure, BadSetting) else FAILED
    return ": ".join(str(part) for part in (failure.filename, failure.strerror) if part), FAILED


def _path(wrong: click.UsageError) -> str:
    return wrong.ctx.command_path if wrong.ctx else NAME


def _worded(failure: BridgeError) -> str:
    """Name the setting, file or option at fault, unless the text does so itself."""
    at = "FHIR_BRIDGE_DATABASE_URL" if isinstance(failure, StoreUnavailable) else failure.at
    return failure.text if at is None or at in failure.text else f"{at}: {failure.text}"
