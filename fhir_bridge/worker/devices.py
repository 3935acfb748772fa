"""The two Devices that results and Tasks name, in every tenant that has some."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from fhir_bridge.errors import VersionConflict
from fhir_bridge.mapping.device import BRIDGE, CORTI, bridge_device, corti_device
from fhir_bridge.verbs.record import new_version

if TYPE_CHECKING:
    from fhir_bridge.worker.rooms import Run


def introduce(run: Run) -> None:
    """Store the Devices that are not there yet."""
    devices = {
        BRIDGE: bridge_device(version=version("fhir-bridge"), url=run.rooms.settings.public_url),
        CORTI: corti_device(environment=run.account.environment),
    }
    missing = [json for id_, json in devices.items() if run.row("Device", id_) is None]
    try:
        run.write([replace(new_version(json), expect=0) for json in missing])
    except VersionConflict:
        return  # another run was first
