"""What every mapping answers: the value, each rule that was used, and what could not be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from fhir_bridge.errors import Issue

T = TypeVar("T")


@dataclass(frozen=True)
class Rule:
    """One decision: the element it looked at, the rule, and what came out."""

    element: str
    rule: str
    result: str


@dataclass(frozen=True)
class Mapped(Generic[T]):
    """A mapped value with the rules behind it and warnings for what has no word on the other side."""

    value: T
    warnings: tuple[Issue, ...] = ()
    rules: tuple[Rule, ...] = ()


class Notes:
    """Gathers rules and warnings while one resource is mapped."""

    def __init__(self) -> None:
        self._warnings: list[Issue] = []
        self._rules: list[Rule] = []

    def rule(self, element: str, rule: str, result: str) -> None:
        """Record that `rule` read `element` and gave `result`."""
        self._rules.append(Rule(element, rule, result))

    def warn(self, text: str, *, at: str, code: str = "not-supported") -> None:
        """Record that something at `at` could not be carried over as it is."""
        self._warnings.append(Issue(code, text, at, "warning"))

    def mapped(self, value: T) -> Mapped[T]:
        """Close the notes around `value`."""
        return Mapped(value, tuple(self._warnings), tuple(self._rules))
