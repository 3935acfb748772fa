"""What rows a caller may see and asked for, as values; and their SQL over `version` and `key`.

Built by verbs from a search request and a Grant. A condition speaks of one version of one
resource; several keys of one parameter make a repeating element, so each node about keys
means "there is a key that ...", and `Not` around it means "there is none".
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import and_, exists, false, func, not_, or_, select, true

from fhir_bridge.store import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement, FromClause

Comparison = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]

_LONGEST: Final = 512  # characters of a key; PostgreSQL indexes no more than about 2,700 bytes
_END: Final = "\U0010ffff"  # after every text: a range without an end
_SURROGATES: Final = range(0xD800, 0xE000)


@dataclass(frozen=True)
class Rows:
    """Which rows a condition is about: whose, after which commit (None: now), under which name in SQL."""

    tenant: str
    snapshot: int | None
    v: FromClause

    def other(self) -> Rows:
        """Return the same tenant's rows at the same moment under a new name, for a join."""
        return Rows(self.tenant, self.snapshot, tables.version.alias())

    @property
    def theirs(self) -> ColumnElement[bool]:
        """The tenant's versions that were current at the moment, deletions among them."""
        until = self.v.c.until
        mine = self.v.c.tenant == self.tenant
        if self.snapshot is None:
            return and_(mine, until.is_(None))
        return and_(mine, self.v.c.seq <= self.snapshot, or_(until.is_(None), until > self.snapshot))

    @property
    def live(self) -> ColumnElement[bool]:
        """Those that are not deletions."""
        return and_(self.theirs, not_(self.v.c.deleted))

    def has_key(self, param: int, that: Callable[[FromClause], ColumnElement[bool]]) -> ColumnElement[bool]:
        """Whether the version has a key of `param` that ..."""
        k = tables.key.alias()
        return exists(
            select(1)
            .select_from(k)
            .where(k.c.tenant == self.tenant, k.c.seq == self.v.c.seq, k.c.param == param, that(k))
            .correlate(self.v)
        )


@dataclass(frozen=True)
class Keys:
    """One of these values, exactly."""

    param: int
    values: tuple[str, ...]

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """EXISTS ... IN; a value that cannot be stored is a value nothing has."""
        return rows.has_key(self.param, self.among)

    def among(self, k: FromClause) -> ColumnElement[bool]:
        """Whether the key `k` has one of the values."""
        values = [key_text(value) for value in self.values if "\0" not in value]
        return k.c.val == values[0] if len(values) == 1 else k.c.val.in_(values)


@dataclass(frozen=True)
class Prefix:
    """A value that starts with this text."""

    param: int
    text: str

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """Compare a range of values, which an index can serve."""
        text = self.text[:_LONGEST]
        after = successor(text)
        if "\0" in text:
            return false()
        return rows.has_key(self.param, lambda k: and_(k.c.val >= text, true() if after is None else k.c.val < after))


@dataclass(frozen=True)
class Between:
    """A range compared with the range `low`..`high`, both ends included, by FHIR's prefixes.

    A key's own range runs from `val` to `high`; without `high` it has no end.
    http://hl7.org/fhir/R4/search.html#prefix
    """

    param: int
    low: str
    high: str
    prefix: Comparison = "eq"

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """One row of the table of prefixes."""
        return rows.has_key(self.param, lambda k: _COMPARED[self.prefix](k.c.val, _end(k), self.low, self.high))


@dataclass(frozen=True)
class Contains:
    """A value that has this text in it; the one condition that no index can serve."""

    param: int
    text: str

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """Look for the text as it is: no character of it is a wildcard."""
        if "\0" in self.text:
            return false()
        return rows.has_key(self.param, lambda k: k.c.val.contains(self.text, autoescape=True))


@dataclass(frozen=True)
class Stamped:
    """A version with meta.lastUpdated in this half-open span of milliseconds since 1970; None for no bound."""

    low_ms: int | None = None
    below_ms: int | None = None

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """Times grow with commit numbers, so each bound of time is one of `seq`."""
        above = true() if self.low_ms is None else rows.v.c.seq > _last_before(rows.tenant, self.low_ms)
        return and_(
            above, true() if self.below_ms is None else rows.v.c.seq <= _last_before(rows.tenant, self.below_ms)
        )


@dataclass(frozen=True)
class Present:
    """Any value at all."""

    param: int

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """EXISTS without a look at the value."""
        return rows.has_key(self.param, lambda _: true())


@dataclass(frozen=True)
class OfType:
    """A resource of one of these types."""

    types: tuple[str, ...]

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """IN, or an equality an index can order by."""
        return rows.v.c.type == self.types[0] if len(self.types) == 1 else rows.v.c.type.in_(self.types)


@dataclass(frozen=True)
class Ids:
    """A resource with one of these ids."""

    ids: tuple[str, ...]

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """IN on the resource's own id."""
        return rows.v.c.id.in_([each for each in self.ids if "\0" not in each])


@dataclass(frozen=True)
class Seq:
    """A version committed after `after` and not after `upto`: what times are turned into."""

    after: int | None = None
    upto: int | None = None

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """Bounds on the commit number."""
        above = true() if self.after is None else rows.v.c.seq > self.after
        return and_(above, true() if self.upto is None else rows.v.c.seq <= self.upto)


@dataclass(frozen=True)
class Chain:
    """A reference to a resource of one of these types for which `inner` holds."""

    param: int
    types: tuple[str, ...]
    inner: Node

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """The referenced resources are found first, then who refers to them."""
        target = rows.other()
        found = select(target.v.c.type + "/" + target.v.c.id).where(
            target.live, OfType(self.types).sql(target), self.inner.sql(target)
        )
        return rows.has_key(self.param, lambda k: k.c.val.in_(found))


@dataclass(frozen=True)
class Reverse:
    """Referred to, by `param`, from a resource of `type` for which `inner` holds."""

    type: str
    param: int
    inner: Node

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """The referring resources are found first, then whom they name."""
        source, k = rows.other(), tables.key.alias()
        found = (
            select(k.c.val)
            .join_from(k, source.v, and_(k.c.tenant == source.v.c.tenant, k.c.seq == source.v.c.seq))
            .where(k.c.tenant == rows.tenant, k.c.param == self.param)
            .where(source.live, source.v.c.type == self.type, self.inner.sql(source))
        )
        return (rows.v.c.type + "/" + rows.v.c.id).in_(found)


@dataclass(frozen=True)
class And:
    """All of these; nothing asked is everything."""

    nodes: tuple[Node, ...]

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """AND."""
        return and_(true(), *(node.sql(rows) for node in self.nodes))


@dataclass(frozen=True)
class Or:
    """One of these; of nothing, none."""

    nodes: tuple[Node, ...]

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """OR."""
        return or_(false(), *(node.sql(rows) for node in self.nodes))


@dataclass(frozen=True)
class Not:
    """Whatever `node` does not hold for."""

    node: Node

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """NOT: every condition here is true or false, never unknown."""
        return not_(self.node.sql(rows))


Node = Keys | Prefix | Between | Contains | Stamped | Present | OfType | Ids | Seq | Chain | Reverse | And | Or | Not

ALL: Final = And(())
NOTHING: Final = Or(())


@dataclass(frozen=True)
class Filter:
    """What a caller gets to see: made from a Grant, asked for wherever resource rows are returned."""

    tenant: str
    where: Node = ALL

    def narrowed(self, *nodes: Node) -> Filter:
        """Return this filter with further conditions."""
        return Filter(self.tenant, And((self.where, *nodes)))


def key_text(val: str) -> str:
    """Return how a key's value is stored: a long one is cut, and its digest keeps it distinct."""
    if len(val) <= _LONGEST:
        return val
    return val[:_LONGEST] + sha256(val.encode()).hexdigest()


def successor(prefix: str) -> str | None:
    """Return the first text after all that start with `prefix`, in code point order; None: there is none."""
    kept = prefix.rstrip(_END)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)


def _last_before(tenant: str, at_ms: int) -> ColumnElement[int]:
    """The last commit number stamped before a time, 0 when there is none."""
    past = tables.version.alias()
    last = select(past.c.seq).where(past.c.tenant == tenant, past.c.at_ms < at_ms)
    return func.coalesce(last.order_by(past.c.at_ms.desc(), past.c.seq.desc()).limit(1).scalar_subquery(), 0)


def _end(k: FromClause) -> ColumnElement[str]:
    return func.coalesce(k.c.high, _END)


def _within(val: ColumnElement[str], high: ColumnElement[str], low_asked: str, high_asked: str) -> ColumnElement[bool]:
    return and_(val >= low_asked, high <= high_asked)


# The key's range val..high against the range asked for, low..top.
_COMPARED: Final[dict[Comparison, Callable[..., ColumnElement[bool]]]] = {
    "eq": _within,
    "ne": lambda val, high, low, top: not_(_within(val, high, low, top)),
    "gt": lambda _val, high, _low, top: high > top,
    "lt": lambda val, _high, low, _top: val < low,
    "ge": lambda val, high, low, top: or_(high > top, _within(val, high, low, top)),
    "le": lambda val, high, low, top: or_(val < low, _within(val, high, low, top)),
    "sa": lambda val, _high, _low, top: val > top,
    "eb": lambda _val, high, low, _top: high < low,
    "ap": lambda val, high, low, top: and_(val <= top, high >= low),
}
