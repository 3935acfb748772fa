"""What a search asks for, as a closed set of nodes over search keys.

The nodes know nothing of the store; they say which key rows a resource must have.
Every text in them went through the same encoders as the keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]


@dataclass(frozen=True)
class Ids:
    """The resource has one of these ids (`_id`)."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Updated:
    """meta.lastUpdated lies in one of these half-open spans of milliseconds since 1970."""

    spans: tuple[tuple[int | None, int | None], ...]


@dataclass(frozen=True)
class AnyOf:
    """A key of `param` equals one of `values`."""

    param: int
    values: tuple[str, ...]


@dataclass(frozen=True)
class StartsWith:
    """A key of `param` begins with `text`."""

    param: int
    text: str


@dataclass(frozen=True)
class Contains:
    """A key of `param` has `text` in it."""

    param: int
    text: str


@dataclass(frozen=True)
class Within:
    """A range key of `param` compares by `prefix` with the range from `low` to `high`, both ends included.

    Only keys that begin with `begins` are compared.
    """

    param: int
    prefix: Prefix
    low: str
    high: str
    begins: str = ""


@dataclass(frozen=True)
class Present:
    """A key of `param` exists."""

    param: int


@dataclass(frozen=True)
class Either:
    """At least one of these holds."""

    any: tuple[Criterion, ...]


@dataclass(frozen=True)
class Without:
    """This does not hold (`:not`, `:missing=true`)."""

    inner: Criterion


@dataclass(frozen=True)
class Chained:
    """A key of `param` names a resource of one of `types` for which `inner` holds."""

    param: int
    types: tuple[str, ...]
    inner: Criterion


@dataclass(frozen=True)
class Reversed:
    """A resource of `type`, for which `inner` holds, has a key of `param` that names this one (`_has`)."""

    type: str
    param: int
    inner: Criterion


Criterion: TypeAlias = (
    Ids | Updated | AnyOf | StartsWith | Contains | Within | Present | Either | Without | Chained | Reversed
)


@dataclass(frozen=True)
class Include:
    """One `_include` or `_revinclude`: the resources of `source` refer by `param` to those of `targets`."""

    source: str
    param: int
    targets: tuple[str, ...]
    iterate: bool


@dataclass(frozen=True)
class Sort:
    """One sort key: the number of a parameter, or a column of the store.

    Of the parameter's keys those count that begin with `begins`, and if `bare` only codes without their system.
    """

    by: int | Literal["_id", "_lastUpdated"]
    descending: bool
    begins: str = ""
    bare: bool = False


@dataclass(frozen=True)
class SearchRequest:
    """A search as it was understood. All of `criteria` must hold; `used` rebuilds the self link.

    `types` are those searched: one, or for a system search those `_type` names (none: all).
    `count` is as asked; the caller owns default and ceiling.
    """

    types: tuple[str, ...]
    criteria: tuple[Criterion, ...] = ()
    includes: tuple[Include, ...] = ()
    revincludes: tuple[Include, ...] = ()
    sort: tuple[Sort, ...] = ()
    count: int | None = None
    total: Literal["none", "estimate", "accurate"] | None = None
    summary: Literal["true", "text", "data", "count", "false"] | None = None
    elements: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    used: tuple[tuple[str, str], ...] = ()
