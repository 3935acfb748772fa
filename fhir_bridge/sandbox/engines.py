"""Which engine listens: the one that was named, or the best that is installed. Never a canned transcript."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from fhir_bridge.sandbox.engine import CannotListen
from fhir_bridge.sandbox.script import ScriptEngine

if TYPE_CHECKING:
    from pathlib import Path

    from fhir_bridge.sandbox.engine import Engine

NAMES = ("auto", "moonshine", "pocketsphinx", "script", "numbers")
PACKAGES = {"moonshine": "moonshine_voice", "pocketsphinx": "pocketsphinx"}


def chosen(name: str, script: Path | None, model_dir: Path | None) -> Engine:
    """Raises CannotListen with what to do about it."""
    if script is not None or name == "script":
        if script is None:
            raise CannotListen("engine script needs --script FILE")
        return ScriptEngine.read(script)
    if name not in NAMES:
        raise CannotListen(f"no engine is called {name}; there are {', '.join(NAMES)}")
    return _made(_installed() if name == "auto" else name, model_dir)


def _installed() -> str:
    for name, package in PACKAGES.items():
        if find_spec(package) is not None:
            return name
    raise CannotListen("no speech recogniser is installed: pip install 'fhir-bridge[sandbox]'")


def _made(name: str, model_dir: Path | None) -> Engine:
    """Each engine's libraries are loaded only when it is chosen."""
    if name == "numbers":
        from fhir_bridge.sandbox.numbers import NumbersEngine  # noqa: PLC0415 - see above

        return NumbersEngine()
    if name == "moonshine":
        from fhir_bridge.sandbox.moonshine import MoonshineEngine  # noqa: PLC0415 - see above

        return MoonshineEngine(model_dir)
    from fhir_bridge.sandbox.sphinx import SphinxEngine  # noqa: PLC0415 - see above

    return SphinxEngine(model_dir)
