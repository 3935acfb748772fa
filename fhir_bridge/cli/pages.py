"""The pages of documentation that are written from code: each a pure function from tables to text."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Final

import click
import yaml

from fhir_bridge import errors, log
from fhir_bridge.cli.entry import NAME, root
from fhir_bridge.errors import BridgeError
from fhir_bridge.fhir.rest import openapi
from fhir_bridge.fhir.rest.operations import operations_of
from fhir_bridge.fhir.rest.served import COMMON, NOT_SERVED, SERVED, SYSTEM
from fhir_bridge.mapping import docs as mapping_docs
from fhir_bridge.settings import FROM_FILE, PREFIX, SECRETS, Settings
from fhir_bridge.store.states import STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fhir_bridge.fhir.rest.served import Served

HELP_WIDTH: Final = 100
# Where a rule of the design comes from helps who reads the code, not who reads the page.
_SOURCE: Final = re.compile(r" \((?:ruling|corti-api|reliability|security)[^)]*\)")
_NOTE: Final = "Generated from {source} by `make docs`; change that, not this page.\n"


def settings_page() -> str:
    """Every setting: name, default, help."""
    rows = (
        (f"`{PREFIX}{name.upper()}`", _default(name, field.default), f"{field.description}")
        for name, field in Settings.model_fields.items()
    )
    files = ", ".join(f"`{PREFIX}{name.upper()}_FILE`" for name in FROM_FILE)
    intro = (
        "Read from the environment, then from a `.env` file in the current folder. An unknown name is an error that "
        f"names the nearest known one. {files} name a file that holds the value. In the `.env` file alone, "
        "`CLIENT_ID`, `CLIENT_SECRET`, `TENANT_NAME` and `ENVIRONMENT` of Corti's own example are read too. "
        "`fhir-bridge check` shows what is in force."
    )
    return _page("Settings", "`fhir_bridge/settings.py`", intro, _table(("setting", "default", "meaning"), rows))


def errors_page() -> str:
    """Every error: HTTP status, FHIR issue code, meaning."""
    rows = (
        (f"`{kind.__name__}`", str(kind.status), f"`{kind.issue}`", _first_paragraph(kind)) for kind in _error_classes()
    )
    intro = (
        "What goes wrong is answered as an OperationOutcome with the element at fault and a remedy. Errors on the way "
        "to Corti are shown on the Task instead, as a contained OperationOutcome. OAuth routes answer in OAuth's form."
    )
    return _page("Errors", "`fhir_bridge/errors.py`", intro, _table(("error", "status", "issue code", "meaning"), rows))


def events_page() -> str:
    """Every log event and its fields."""
    rows = ((f"`{name}`", ", ".join(f"`{field}`" for field in sorted(fields))) for name, fields in log.EVENTS.items())
    intro = (
        "One JSON line each on stderr, with `at` and `event`. Fields are ids, counts, durations and closed codes: "
        "never a resource, a transcript, a name, a token or a query string."
    )
    return _page("Log events", "`fhir_bridge/log.py`", intro, _table(("event", "fields"), rows))


def jobs_page() -> str:
    """The states of a job and what the EHR sees of them."""
    rows = (
        (state.value, phase.task, phase.media, phase.meaning, ", ".join(sorted(phase.follows)) or "-")
        for state, phase in STATES.items()
    )
    intro = "An accepted Encounter has one job, each of its recordings another; each is shown by a Task."
    head = ("state", "Task.status", "Media.status", "meaning", "may be followed by")
    return _page("Jobs", "`fhir_bridge/store/states.py`", intro, _table(head, rows))


def interactions_page() -> str:
    """What is served: interactions, search parameters, operations."""
    whole = [*SYSTEM, *(f"`${one.name}`" for one in operations_of(None))]
    intro = f"Of the whole system: {', '.join(whole)}. Every search knows {_names(COMMON)} as well."
    overview = _table(
        ("resource", "interactions", "operations"),
        ((row.type, ", ".join(row.interactions), _operations(row)) for row in SERVED),
    )
    sections = (f"## {row.type}\n\n{_parameters(row)}" for row in SERVED if row.params)
    return _page(
        "Interactions and search parameters",
        "`fhir_bridge/fhir/rest/served.py`",
        intro,
        overview,
        *sections,
        _unserved(),
    )


def cli_page() -> str:
    """The help text of every command."""
    top = click.Context(root, info_name=NAME, terminal_width=HELP_WIDTH, **root.context_settings)
    sections = (f"## {name}\n\n```\n{text}\n```\n" for name, text in _helps(top))
    intro = "Errors are one line on stderr; the exit status is 2 for wrong use and 1 for failure."
    return _page("Commands", "the help texts in `fhir_bridge/cli`", intro, *sections)


def openapi_page() -> str:
    """The OpenAPI document, for a server at any address."""
    return yaml.safe_dump(openapi.document(), sort_keys=False, allow_unicode=True, width=HELP_WIDTH)


PAGES: Final[dict[str, Callable[[], str]]] = {
    "docs/settings.md": settings_page,
    "docs/errors.md": errors_page,
    "docs/events.md": events_page,
    "docs/mapping.md": mapping_docs.page,
    "docs/jobs.md": jobs_page,
    "docs/interactions.md": interactions_page,
    "docs/cli.md": cli_page,
    "openapi/fhir-bridge.yaml": openapi_page,
}


def _default(name: str, value: object) -> str:
    if value is None or value == ():
        return "-" if name in SECRETS or value == () else "unset"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _error_classes() -> Iterator[type[BridgeError]]:
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, BridgeError):
            yield kind


def _first_paragraph(kind: type) -> str:
    return _SOURCE.sub("", " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split()))


def _names(params: Iterable[object]) -> str:
    return ", ".join(f"`{getattr(param, 'name', '')}`" for param in params)


def _operations(row: Served) -> str:
    return ", ".join(f"`${one.name}`" for one in row.operations) or "-"


def _parameters(row: Served) -> str:
    rows = (
        (f"`{one.name}`", one.type, ", ".join(f"`{row.type}.{path}`" for path in one.paths), ", ".join(one.targets))
        for one in row.params
    )
    return _table(("parameter", "type", "looks at", "refers to"), rows)


def _unserved() -> str:
    intro = (
        "Not served, and so refused with 400 under `Prefer: handling=strict`, else ignored: then the self link does "
        "not show it and an OperationOutcome entry warns."
    )
    rows = ((f"`{name}`", reason) for name, reason in NOT_SERVED.items())
    return f"## Parameters that are not served\n\n{intro}\n\n{_table(('parameter', 'why'), rows)}"


def _helps(ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Give the help of every command below a group, as whoever calls it sees it."""
    group = ctx.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(ctx):
        found = group.get_command(ctx, name)
        assert found is not None  # noqa: S101 - it is listed
        inner = click.Context(found, parent=ctx, info_name=name)
        yield inner.command_path.removeprefix(f"{NAME} "), found.get_help(inner)
        yield from _helps(inner)


def _page(title: str, source: str, *parts: str) -> str:
    return "\n".join((f"# {title}\n", _NOTE.format(source=source), *(f"{part.rstrip()}\n" for part in parts)))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join((_line(head), _line(tuple("---" for _ in head)), *map(_line, rows)))


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell or '-' for cell in cells)} |"
