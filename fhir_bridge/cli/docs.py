"""Writes the generated pages, or says which of them no longer match the code: `python -m fhir_bridge.cli.docs`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from fhir_bridge.cli.pages import PAGES

ROOT: Final = Path(__file__).parents[2]


def stale(root: Path = ROOT) -> list[str]:
    """Name the pages whose file is missing or says something else than the code."""
    return [name for name, page in PAGES.items() if not _is_current(root / name, page())]


def write(root: Path = ROOT) -> list[str]:
    """Write the pages that are stale and name them."""
    written = stale(root)
    for name in written:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(PAGES[name]())
    return written


def _is_current(file: Path, text: str) -> bool:
    return file.is_file() and file.read_text() == text


@click.command()
@click.option("--check", is_flag=True, help="Only say which pages are stale, and end with 1 when there are any.")
def command(*, check: bool) -> None:
    """Write the generated pages of the repository anew."""
    found = stale() if check else write()
    for name in found:
        click.echo(f"{name} {'is stale: run `make docs`' if check else 'was written'}")
    if check and found:
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    command()
