"""GET and HEAD inside a Bundle: the same reads, searches and histories as by themselves."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import MethodNotAllowed, NoSuchRoute, TooLarge
from fhir_bridge.fhir.resource.reader import read as read_json
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.inputs import inputs_of
from fhir_bridge.fhir.rest.operations import operation
from fhir_bridge.fhir.rest.served import BY_TYPE, offers
from fhir_bridge.verbs.binary import opened, readable
from fhir_bridge.verbs.bundles import answers
from fhir_bridge.verbs.history import history, vread
from fhir_bridge.verbs.operate import Call, operate
from fhir_bridge.verbs.part import part_of
from fhir_bridge.verbs.read import read
from fhir_bridge.verbs.search import search

if TYPE_CHECKING:
    from fhir_bridge.fhir.rest.bundle import Done
    from fhir_bridge.fhir.rest.served import Interaction
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bundles.asks import Ask
    from fhir_bridge.verbs.write import Writer

_TYPE: Final = r"(?P<type>[A-Z][A-Za-z]+)"
_ONE: Final = rf"{_TYPE}/(?P<id>[A-Za-z0-9.\-]{{1,64}})"
_READ: Final = re.compile(rf"{_ONE}(?:/_history/(?P<vid>[^/]+))?")
_HISTORY: Final = re.compile(rf"(?:(?P<of>{_ONE}|[A-Z][A-Za-z]+)/)?_history")
_OPERATION: Final = re.compile(rf"{_ONE}/\$(?P<name>[a-z\-]+)")
_SEARCH: Final = re.compile(r"|[A-Z][A-Za-z]+|[A-Z][A-Za-z]+/[A-Za-z0-9.\-]{1,64}/(?:[A-Z][A-Za-z]+|\*)")


def answered(by: Writer, ask: Ask) -> Done:
    """Read, search or tell what happened, as the entry's URL says.

    Raises:
        NoSuchRoute, MethodNotAllowed: nothing is read there. Else as of each by itself.
    """
    if ask.path == "metadata" and by.capabilities is not None:
        return answers.found(None if ask.method == "HEAD" else by.capabilities())
    if found := _READ.fullmatch(ask.path):
        return _read(by, ask, found)
    return answers.found(None if ask.method == "HEAD" else _bundle(by, ask))


def _read(by: Writer, ask: Ask, found: re.Match[str]) -> Done:
    type_, id_, vid = found["type"], found["id"], found["vid"]
    _require(type_, "vread" if vid else "read")
    row = _row(by, type_, id_, vid)
    if _is_known(ask, row):
        return answers.unchanged(row)
    shown = _with_content(by, row) if type_ == "Binary" else part_of(row, ask.query).body
    return answers.read(row, None if ask.method == "HEAD" else shown)


def _row(by: Writer, type_: str, id_: str, vid: str | None) -> Row:
    if type_ == "Binary":
        return readable(by.bridge, by.grant, id_, vid=vid)
    return vread(by.bridge, by.grant, type_, id_, vid=vid) if vid else read(by.bridge, by.grant, type_, id_)


def _bundle(by: Writer, ask: Ask) -> str:
    if found := _HISTORY.fullmatch(ask.path):
        of = found["of"] or ""
        if of:
            _require(of.partition("/")[0], "history-instance" if "/" in of else "history-type")
        return history(by.bridge, by.grant, of, ask.query)
    if found := _OPERATION.fullmatch(ask.path):
        return _operated(by, ask, found)
    if _SEARCH.fullmatch(ask.path):
        if ask.path and "/" not in ask.path:
            _require(ask.path, "search-type")
        return search(by.bridge, by.grant, ask.path, ask.query)
    raise NoSuchRoute("There is nothing to be read at this path")


def _operated(by: Writer, ask: Ask, found: re.Match[str]) -> str:
    offered = operation(found["name"], "instance", found["type"])
    if offered is None or "GET" not in offered.methods:
        raise NoSuchRoute("There is no such operation to be asked by GET")
    path = ask.path.rpartition("/")[0]
    return operate(Call(by.bridge, by.grant, offered, path, inputs_of(offered, ask.query, None), by.request))


def _require(type_: str, interaction: Interaction) -> None:
    if type_ not in BY_TYPE:
        raise NoSuchRoute("This resource type is not served here: see /fhir/metadata")
    if not offers(type_, interaction):
        raise MethodNotAllowed(f"{type_} has no {interaction} here: see /fhir/metadata")


def _is_known(ask: Ask, row: Row) -> bool:
    """Tell whether the client has this version; its ETag counts before the time (http.html#cread)."""
    tags, since = ask.known
    if tags is not None:
        return str(row.vid) in re.findall(r'"([^"]*)"', tags)
    moment = encode.moments(since) if since else None
    return moment is not None and row.at_ms <= moment.end.timestamp() * 1000


def _with_content(by: Writer, row: Row) -> str:
    """Give a Binary in a Bundle its content: there it has FHIR's form always (R4 binary.html)."""
    row, content, file = opened(by.bridge, by.grant, row.id)
    with file:
        if content.size > by.bridge.settings.max_json_bytes:
            raise TooLarge("The content is too large for a Bundle: read the Binary by itself")
        data = base64.b64encode(file.read()).decode()
    return write(read_json(row.body) | ({"data": data} if data else {}))
