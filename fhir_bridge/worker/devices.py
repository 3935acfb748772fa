"""The two Devices that results and Tasks name, in every tenant that has some."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from fhir_bridge.errors import CortiUnavailable, VersionConflict
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.mapping.device import CORTI, bridge_device, corti_device
from fhir_bridge.store import Filter, resources
from fhir_bridge.verbs.record import BRIDGE, new_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.store.versions import NewVersion
    from fhir_bridge.worker.rooms import Run


def introduce(run: Run) -> None:
    """Store the Devices, and what has changed of them since; one that an EHR edited or deleted is its own."""
    devices = (bridge_device(version=version("fhir-bridge"), url=run.rooms.settings.public_url), _listener(run))
    try:
        run.write([new for device in devices if device is not None for new in _versions(run, device)])
    except VersionConflict:
        return  # another run was first


def _listener(run: Run) -> Json | None:
    """Describe what listens; None: that cannot be told now, and has been before."""
    account = run.account
    try:
        return corti_device(environment=account.environment, recogniser=account.recogniser)
    except CortiUnavailable:
        return None if run.row("Device", CORTI) else corti_device(environment=account.environment)


def _versions(run: Run, device: Json) -> Iterator[NewVersion]:
    id_ = str(device["id"])
    row = run.read(lambda conn: resources.read(conn, Filter(run.job.tenant), "Device", id_))
    if row is None:
        yield replace(new_version(device), expect=0)
    elif not row.deleted and row.author == BRIDGE and _content(read(row.body)) != device:
        yield replace(new_version(device, method="PUT"), expect=row.vid)


def _content(shown: Json) -> Json:
    return {name: value for name, value in shown.items() if name != "meta"}
