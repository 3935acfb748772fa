"""What operators and orchestrators ask: no token, no patient data (ruling 31)."""

from __future__ import annotations

from flask import Blueprint, Response

from fhir_bridge.api import respond
from fhir_bridge.api.guard import bridge
from fhir_bridge.errors import BridgeError
from fhir_bridge.store import circuits, jobs

routes = Blueprint("health", __name__)


@routes.get("/health/live")
def live() -> Response:
    """The process answers."""
    return respond.plain({"status": "up"})


@routes.get("/health/ready")
def ready() -> Response:
    """The bridge can accept: database and disk. Corti may be away: jobs wait for it."""
    checks = {"database": _database(), "disk": _disk()}
    is_ready = all(checks.values())
    shown = {name: "up" if passed else "down" for name, passed in checks.items()}
    return respond.plain({"status": "up" if is_ready else "down", "checks": shown}, status=200 if is_ready else 503)


@routes.get("/metrics")
def metrics() -> Response:
    """Jobs by state, in the Prometheus text format."""
    lines = ["# HELP fhir_bridge_jobs Jobs by state", "# TYPE fhir_bridge_jobs gauge"]
    counted = bridge().store.of_all().read(jobs.counts)
    lines += [f'fhir_bridge_jobs{{state="{state}"}} {count}' for state, count in sorted(counted.items())]
    lines += ["# HELP fhir_bridge_circuits_open Corti accounts that are left alone until they answer again"]
    lines += ["# TYPE fhir_bridge_circuits_open gauge"]
    lines += [f"fhir_bridge_circuits_open {bridge().store.of_all().read(circuits.count_open)}"]
    return Response("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4; charset=utf-8")


def _database() -> bool:
    try:
        bridge().store.of_all().read(jobs.counts)
    except BridgeError:
        return False
    return True


def _disk() -> bool:
    return bridge().blobs.free_bytes() >= bridge().settings.min_free_bytes
