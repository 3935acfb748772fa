"""The console script: one file per command."""

from __future__ import annotations

from fhir_bridge.cli.entry import main

__all__ = ["main"]
