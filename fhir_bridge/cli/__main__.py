"""The same as the console script, for `python -m fhir_bridge.cli`."""

from __future__ import annotations

from fhir_bridge.cli.entry import main

main()
