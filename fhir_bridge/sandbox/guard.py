"""What every API request passes first: journal, scripted faults, slash, bearer, tenant, ids (corti-api 1.2, 1.4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from flask import Flask, Response, g, redirect, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from fhir_bridge.sandbox import faults
from fhir_bridge.sandbox.refusals import Refusal, refusal_of, response_of, unauthorised
from fhir_bridge.sandbox.shapes import now

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

    from fhir_bridge.sandbox.realm import Bearer, Realms
    from fhir_bridge.sandbox.state import Interaction, State

UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
OURS = ("/__sandbox", "/health", "/realms/")
M = TypeVar("M", bound=BaseModel)


class Guard:
    """Stands before the routes; routes ask it for the body and the interaction."""

    def __init__(self, state: State, realms: Realms) -> None:
        self.state = state
        self.realms = realms

    def install(self, app: Flask) -> None:
        """Hook into every request of the application."""
        app.before_request(self.before)
        app.after_request(self.after)
        app.register_error_handler(Refusal, lambda refusal: response_of(refusal, self.state.switches))
        app.register_error_handler(HTTPException, self.unknown)

    def before(self) -> AnyResponse | None:
        """Refuse or let pass."""
        if request.path.startswith(("/__sandbox", "/health")):
            return None
        self._journal()
        with self.state.lock:
            g.fault = faults.take(self.state.faults)
        if (scripted := self._scripted()) is not None:
            return scripted
        if request.path.startswith(OURS):
            return None
        if (elsewhere := self._redirected()) is not None:
            return elsewhere
        self._admitted()
        return None

    def _scripted(self) -> AnyResponse | None:
        """A scripted answer instead of the work."""
        fault: faults.Fault | None = g.fault
        if fault is None or fault.apply:
            return None
        g.fault = None
        return fault.response()

    def after(self, response: Response) -> Response:
        """The work is done; a scripted fault may still take its answer away."""
        fault = g.pop("fault", None)
        return (fault.response() if fault is not None and fault.apply else None) or response

    def unknown(self, error: HTTPException) -> AnyResponse:
        """A path nobody may use answers 403, as was seen live (corti-api 1.4)."""
        if request.path.startswith(OURS) or isinstance(error, RequestRedirect):
            return Response(status=error.code)
        status = 403 if error.code in {404, 405} else error.code or 500
        return response_of(Refusal(status, error.name), self.state.switches)

    def _redirected(self) -> AnyResponse | None:
        found = request.routing_exception
        if not isinstance(found, RequestRedirect):
            return None
        if not self.state.switches.slash_redirect:
            raise Refusal(404, "not found")
        return redirect(found.new_url, code=307)

    def _admitted(self) -> None:
        socket = request.path.startswith("/audio-bridge/")
        product = ("streams" if request.path.endswith("/streams") else "transcribe") if socket else "api"
        bearer = self.realms.verify(self._token(socket=socket))
        tenant = request.args.get("tenant-name") if socket else request.headers.get("Tenant-Name")
        if self.state.switches.tenant_required and tenant != bearer.owner.realm:
            raise Refusal(403, "tenant is missing or is not the token's")
        if not bearer.may(product):
            raise Refusal(403, "insufficient scope")
        g.bearer = bearer
        for name, value in (request.view_args or {}).items():
            if name.endswith("_id") and not UUID_TEXT.fullmatch(value):
                raise Refusal(400, f"{name} is no UUID")

    def _token(self, *, socket: bool) -> str:
        given = request.args.get("token") if socket else None
        scheme, _, token = (given or request.headers.get("Authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthorised("Authorization is missing")
        return token

    def _journal(self) -> None:
        entry = {
            "method": request.method,
            "path": request.path,
            "at": now(),
            "tenant": request.headers.get("Tenant-Name"),
        }
        self.state.requests.append(dict(entry))

    def bearer(self) -> Bearer:
        """The token of the present request."""
        bearer: Bearer = g.bearer
        return bearer

    def body(self, shape: type[M]) -> M:
        """The JSON body in its shape, or Corti's 400."""
        content = request.get_json(force=True, silent=True)
        if not isinstance(content, dict):
            raise Refusal(400, "invalid request body")
        if self.state.switches.unknown_fields_refused and (strange := _unknown(content, shape)):
            raise Refusal(400, "invalid request body", tuple((name, "unknown field") for name in strange))
        try:
            return shape.model_validate(content)
        except ValidationError as exc:
            raise refusal_of(exc, self.state.switches) from exc

    def interaction(self, interaction_id: str) -> Interaction:
        """The caller's interaction; anybody else's is as unknown as none."""
        found = self.state.interactions.get(interaction_id.lower())
        if found is None or found.owner != self.bearer().owner:
            raise Refusal(404, "interaction not found")
        return found

    def credit(self) -> None:
        """429 when the balance is empty, which looks like too many requests (corti-api 1.4)."""
        if not self.state.switches.credit:
            raise Refusal(429, "insufficient balance")


def _unknown(content: dict[str, object], shape: type[BaseModel], at: str = "") -> list[str]:
    known = {field.alias or name: field for name, field in shape.model_fields.items()}
    strange = [f"{at}{name}" for name in content if name not in known]
    for name, field in known.items():
        inner = next((a for a in (field.annotation, *getattr(field.annotation, "__args__", ())) if _is_shape(a)), None)
        value = content.get(name)
        if inner is not None and isinstance(value, dict):
            strange += _unknown(value, inner, f"{at}{name}.")
    return strange


def _is_shape(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
