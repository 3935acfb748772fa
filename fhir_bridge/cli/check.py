"""`fhir-bridge check`: shows every setting with its source, and tries what the bridge depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from fhir_bridge import settings
from fhir_bridge.cli import trials
from fhir_bridge.cli.shown import as_json, listed, shown
from fhir_bridge.settings import PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fhir_bridge.cli.shown import Cell
    from fhir_bridge.cli.trials import Trial

HIDDEN: Final = "***"


@click.command("check")
@as_json
def command(*, as_json: bool) -> None:
    """Show every setting with its source, and try issuer, Corti token, database and disk.

    Ends with 1 when something of it would fail. Secrets are shown as ***.
    """
    wanted = settings.load()
    rows = _settings(wanted)
    tried = trials.all_of(wanted)
    if as_json:
        shown({"settings": rows, "trials": [vars(one) for one in tried]})
    else:
        listed(rows, as_json=False, empty="")
        click.echo()
        _told(tried)
    if not all(one.passed for one in tried):
        raise click.exceptions.Exit(1)


def _settings(wanted: Settings) -> list[dict[str, Cell]]:
    sources = settings.sources()
    return [
        {"setting": PREFIX + name.upper(), "value": _value(getattr(wanted, name)), "source": sources[name]}
        for name in Settings.model_fields
    ]


def _value(value: object) -> str | None:
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, tuple):
        return " ".join(str(one) for one in value) or None
    return None if value is None else _without_password(str(value))


def _without_password(text: str) -> str:
    parts = urlsplit(text)
    if not parts.password:
        return text
    return text.replace(f":{parts.password}@", f":{HIDDEN}@")


def _told(tried: Sequence[Trial]) -> None:
    width = max(len(one.name) for one in tried)
    for one in tried:
        click.echo(f"{'ok    ' if one.passed else 'FAILED'}  {one.name.ljust(width)}  {one.text}")
