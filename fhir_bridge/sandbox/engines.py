"""Which engine listens: the one that was named, or the best that is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.sandbox.engine import CannotListen
from fhir_bridge.sandbox.script import ScriptEngine

if TYPE_CHECKING:
    from pathlib import Path

    from fhir_bridge.sandbox.engine import Engine

NAMES = ("auto", "moonshine", "pocketsphinx", "script", "numbers")


def chosen(name: str, script: Path | None, model_dir: Path | None) -> Engine:
    """Raises CannotListen with what to do about it."""
    if name not in NAMES:
        raise CannotListen(f"no engine is called {name}; there are {', '.join(NAMES)}")
    if script is not None or name == "script":
        if script is None:
            raise CannotListen("engine script needs --script FILE")
        return ScriptEngine.read(script)
    if name == "numbers":
        from fhir_bridge.sandbox.numbers import NumbersEngine  # noqa: PLC0415 - its tables are made when it is used

        return NumbersEngine()
    raise CannotListen(f"engine {name} follows; model folder {model_dir}")
