"""How commands print rows: as aligned columns for people, as JSON for scripts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Cell: TypeAlias = "str | int | float | bool | list[str] | None"
Nested: TypeAlias = "Cell | Mapping[str, Cell] | Sequence[Mapping[str, Cell]]"

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def shown(row: Mapping[str, Nested]) -> None:
    """Print one object as one line of JSON."""
    click.echo(json.dumps(row, ensure_ascii=False))


def listed(rows: Sequence[Mapping[str, Cell]], *, as_json: bool, empty: str) -> None:
    """Print rows: a JSON array, or columns under their names; `empty` says that there are none."""
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
    elif not rows:
        click.echo(empty)
    else:
        for line in _aligned([[*rows[0]], *([_text(cell) for cell in row.values()] for row in rows)]):
            click.echo(line)


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _text(cell: Cell) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return " ".join(cell) if isinstance(cell, list) else "-" if cell is None else str(cell)
