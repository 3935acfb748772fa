"""Finds the command, runs it, and turns whatever it raises into one line on stderr and an exit status."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn

import click

from fhir_bridge.cli.wording import worded
from fhir_bridge.errors import BadSetting, BridgeError

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = "fhir-bridge"
COMMANDS: Final = {
    "demo": "Post a recorded consultation as an EHR would, and show what comes back as FHIR",
    "serve": "Serve everything from this machine: web and worker, supervised",
    "web": "Serve FHIR, tokens and Swagger UI over HTTP",
    "worker": "Bring Encounters and recordings to Corti, and results back",
    "migrate": "Create or upgrade the tables of the database",
    "sandbox": "Serve Corti's protocol on this machine, with a speech recogniser",
    "client": "Add, list and disable SMART clients",
    "tenant": "Add and list tenants",
    "user": "Add local users for the built-in sign-in",
    "check": "Show every setting with its source, and try what the bridge depends on",
    "verify": "Prove that nothing is lost, doubled or stuck",
    "purge": "Apply the retention rules now",
    "reindex": "Let older resources be found by newer search parameters",
    "erase": "Destroy an Encounter or a Patient, and prove it",
    "rotate-keys": "Sign with a new key; wrap stored keys and secrets anew",
}
FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


class _Commands(click.Group):
    """Imports a command's file only when it is run: the list of all needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f"fhir_bridge.cli.{cmd_name.replace('-', '_')}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


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
        return worded(failure), WRONG_USE if isinstance(failure, BadSetting) else FAILED
    return ": ".join(str(part) for part in (failure.filename, failure.strerror) if part), FAILED


def _path(wrong: click.UsageError) -> str:
    return wrong.ctx.command_path if wrong.ctx else NAME
