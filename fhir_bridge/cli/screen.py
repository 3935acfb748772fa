"""What the demo shows: words as they are heard, a bar, a table of facts; plain lines where there is no terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_bridge.cli.visit import Fact, Recording, Status, Words
    from fhir_bridge.fhir.resource.models import Model

_PLAIN_WIDTH: Final = 110


def console() -> Console:
    """Return a console for stdout; without a terminal its lines are wide enough for a log."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


class Hearing:
    """The words of one recording as they come, above a bar that shows how far it was heard."""

    def __init__(self, on: Console, recording: Recording) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[heard]}"))
        self._bar = Progress(*columns, console=on)
        self._seconds = recording.seconds
        self._row = self._bar.add_task("accepted", total=recording.seconds, heard="")
        self._told: set[tuple[float, str]] = set()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, status: Status) -> None:
        """Print words that are new, and move the bar."""
        several = len({words.speaker for words in status.words}) > 1
        for words in status.words:
            if (words.start, words.text) not in self._told:
                self._told.add((words.start, words.text))
                self._bar.console.print(_line(words, named=several), markup=False)
        position = max((words.end for words in status.words), default=0.0)
        if status.ended == "completed":
            position = self._seconds or position
        self._bar.update(self._row, completed=position, description=_phase(status), heard=self._heard(position))

    def _heard(self, position: float) -> str:
        return f"{position:.0f} s" if self._seconds is None else f"{position:.0f} of {self._seconds:.0f} s"


def facts_table(facts: Iterable[Fact]) -> Table:
    """Return the facts with their LOINC codes."""
    table = Table(title="Facts, each an Observation", title_justify="left")
    for name in ("Fact", "Group", "LOINC"):
        table.add_column(name)
    for fact in facts:
        table.add_row(fact.text, fact.group, fact.loinc or "-")
    return table


def resources_table(resources: Iterable[Model]) -> Table:
    """Return how many resources of each type came back, and where one of them is."""
    table = Table(title="Resources of the Encounter ($everything)", title_justify="left")
    for name in ("Type", "Count", "For example"):
        table.add_column(name)
    found = list(resources)
    first = {one.get_resource_type(): str(getattr(one, "id", None)) for one in reversed(found)}
    for type_, count in Counter(one.get_resource_type() for one in found).items():
        table.add_row(type_, str(count), f"/fhir/{type_}/{first[type_]}")
    return table


def _line(words: Words, *, named: bool) -> str:
    who = f"Speaker {words.speaker + 1}: " if named and words.speaker is not None and words.speaker >= 0 else ""
    return f"{int(words.start) // 60:02}:{int(words.start) % 60:02}  {who}{words.text.strip()}"


def _phase(status: Status) -> str:
    facts = len(status.facts)
    return f"{status.phase.partition(':')[0]} ({facts} fact{'' if facts == 1 else 's'})"
