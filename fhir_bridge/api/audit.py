"""Every request below /fhir leaves its mark: what its writes did not tell by themselves is told before it is answered.

Open to everyone, and so not told: the statements that any server must show (no token).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

from flask import g, request

from fhir_bridge.api import respond
from fhir_bridge.api.guard import bridge
from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.store.schema import DEFAULT_TENANT
from fhir_bridge.verbs import audit
from fhir_bridge.verbs.audit import Trail

if TYPE_CHECKING:
    from flask import Flask, Response

_OPEN: Final = re.compile(r"/fhir/(metadata|\.well-known/.*|OperationDefinition/[^/]*)")
_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ID: Final = re.compile(r"[A-Za-z0-9.\-]{1,64}")
_OPERATION: Final = re.compile(r"\$[A-Za-z][A-Za-z\-]{0,63}")
_HISTORIES: Final = ("history-system", "history-type", "history-instance")
# By the number of steps in a path below the base, and the method.
_PLAIN: Final = {
    (0, "GET"): "search-system",
    (0, "POST"): "transaction",
    (1, "GET"): "search-type",
    (1, "POST"): "create",
    (2, "GET"): "read",
}
_WRITING: Final = {"PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def watch(app: Flask) -> None:
    """Attach to `app`, behind what gives a request its id."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.trail = Trail(g.request_id, request.remote_addr, base=bridge().base)
    audit.begin(g.trail)


def _end(response: Response) -> Response:
    """Answer nothing that could not be told (fail closed); a refusal gives nothing away and stays one."""
    trail: Trail | None = g.pop("trail", None)
    if trail is None or not _is_told():
        return response
    try:
        row = _row(trail, response.status_code)
        audit.finish(bridge().of(row.tenant), trail, row)
    except StoreUnavailable as exc:
        if response.status_code < 400:  # noqa: PLR2004 - HTTP 400
            response.close()
            return respond.error(exc)
    return response


def _is_told() -> bool:
    below = request.path == "/fhir" or request.path.startswith("/fhir/")
    return below and request.method != "OPTIONS" and not _OPEN.fullmatch(request.path)


def _row(trail: Trail, status: int) -> AuditRow:
    """Tell of the request as a whole; of one without a token, whose it is nobody knows, to the operator's tenant."""
    steps = [step for step in request.path.split("/")[2:] if step]
    type_ = steps[0] if steps and _TYPE.fullmatch(steps[0]) else None
    id_ = steps[1] if type_ and len(steps) > 1 and _ID.fullmatch(steps[1]) else None
    row = AuditRow(DEFAULT_TENANT, trail.request, interaction(request.method, steps), status, issue=trail.issue)
    who = trail.grant
    if who is None:
        return row
    asked = trail.query or _query(named=row.verb.startswith("search"))
    type_, id_ = (type_, id_) if id_ else trail.about or (type_, None)
    named = id_ if type_ == "Patient" else who.patient if id_ is None else None
    return replace(
        row,
        tenant=who.tenant,
        client=who.client,
        user=who.user,
        type=type_,
        id=id_,
        query=asked,
        patient=trail.patient or (f"Patient/{named}" if named else None),
        via=trail.via,
    )


def interaction(method: str, steps: list[str]) -> str:  # noqa: PLR0911 - one row a form of path
    """Return the interaction that a path below the base stands for (http.html), or an operation's name."""
    named = next((step for step in steps if step.startswith("$")), None)
    if named is not None:
        return named if _OPERATION.fullmatch(named) else "operation"
    if steps[:1] == ["_async"]:
        return "operation"
    if "_history" in steps:
        return _HISTORIES[min(len(steps) - 1, 2)] if steps[-1] == "_history" else "vread"
    if "_search" in steps:
        return "search-system" if len(steps) == 1 else "search-type"
    method = "GET" if method == "HEAD" else method
    if steps and not _TYPE.fullmatch(steps[0]) and steps[0] != "_page":
        return "operation"  # of our own, such as the status of an asynchronous request
    if method == "GET" and (len(steps) > 2 or "_page" in steps):  # noqa: PLR2004 - a compartment: Type, id, Type
        return "search-type"
    return _WRITING.get(method) or _PLAIN.get((len(steps), method), "operation")


def _query(*, named: bool) -> str | None:
    """What was asked, as text; a token that was sent where none belongs is left out.

    A search that asks nothing is `named`: its path is what was asked.
    """
    asked = request.query_string.decode("utf-8", "replace")
    form = vars(request).get("form")  # if it was read
    body = urlencode(list(form.items(multi=True))) if form else ""
    parts = [part for part in f"{asked}&{body}".split("&") if part and not _is_token(part)]
    path = request.path.removeprefix("/fhir").strip("/")
    if not parts:
        return path if named else None
    return f"{path}?{'&'.join(parts)}"


def _is_token(part: str) -> bool:
    return any("token" in name.lower() for name, _ in parse_qsl(part, keep_blank_values=True))
