"""Answers that a test has scripted: the next matching requests get them instead of, or after, the true work."""

from __future__ import annotations

import re
import time

from flask import Response, request
from pydantic import BaseModel, ConfigDict, JsonValue


class Fault(BaseModel):
    """One scripted misbehaviour. `POST /__sandbox/next` takes one or a list of these."""

    model_config = ConfigDict(extra="forbid")

    method: str = "*"
    path: str = ".*"
    """A regular expression searched in the path."""
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = {}
    body: JsonValue = None
    delay: float = 0.0
    apply: bool = False
    """Do the work first: then `status` or `drop` makes its answer get lost."""
    drop: bool = False
    """Close the connection without an answer."""

    def matches(self) -> bool:
        """Whether the present request is meant."""
        return self.method in {"*", request.method} and re.search(self.path, request.path) is not None

    def response(self) -> Response | None:
        """The scripted answer; None when there is only a delay."""
        time.sleep(self.delay)
        if self.drop:
            return Dropped()
        if self.status is None:
            return None
        if self.body is None:
            return Response(status=self.status, headers=self.headers)
        text = self.body if isinstance(self.body, str) else _json(self.body)
        return Response(text, status=self.status, headers={"Content-Type": "application/json", **self.headers})


def _json(body: JsonValue) -> str:
    from flask import json  # noqa: PLC0415 - Flask's own writer, next to its use

    return json.dumps(body)


class Dropped(Response):
    """No answer at all: werkzeug takes a ConnectionError from the application as a client that went away."""

    def __call__(self, *_: object) -> list[bytes]:
        """Write nothing."""
        raise ConnectionAbortedError


def take(faults: list[Fault]) -> Fault | None:
    """The first scripted fault for the present request, used up by one."""
    for fault in faults:
        if fault.matches():
            fault.times -= 1
            if fault.times <= 0:
                faults.remove(fault)
            return fault
    return None
