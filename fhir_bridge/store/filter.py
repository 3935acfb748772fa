"""What rows a caller may see and asked for, as values; and their SQL over `version` and `key`.

Built by verbs from a search request and a Grant. A condition speaks of one version of one
resource; several keys of one parameter make a repeating element, so each node about keys
means "there is a key that ...", and `Not` around it means "there is none".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, false, func, not_, or_, select, true

from fhir_bridge.store import tables
from fhir_bridge.store.comparing import compared
from fhir_bridge.store.dialects import aside, strpos
from fhir_bridge.store.rows import LONGEST, Rows, apart, key_text, last_before, successor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, FromClause, Select

    from fhir_bridge.store.comparing import Comparison
    from fhir_bridge.store.rows import OfKey


@dataclass(frozen=True)
class Keys:
    """One of these values, exactly."""

    param: int
    values: tuple[str, ...]

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """EXISTS ... IN."""
        return rows.has_key(self.param, lambda k: self._has(k.c.val if len(self.values) == 1 else aside(k.c.val)))

    def on(self, k: FromClause) -> ColumnElement[bool]:
        """Whether the key `k` has one of the values, to be looked up in the index of keys."""
        return self._has(k.c.val)

    def _has(self, val: ColumnElement[str]) -> ColumnElement[bool]:
        """One that cannot be stored is one nothing has."""
        values = [key_text(value) for value in self.values if "\0" not in value]
        return val == values[0] if len(values) == 1 else val.in_(values)


@dataclass(frozen=True)
class Prefix:
    """A value that starts with this text."""

    param: int
    text: str

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """EXISTS ... in a range of values."""
        return rows.has_key(self.param, self.on)

    def on(self, k: FromClause) -> ColumnElement[bool]:
        """Whether the key `k` is in the range of texts that start so."""
        text = self.text[:LONGEST]
        if "\0" in text:
            return false()
        after = successor(text)
        return and_(k.c.val >= text, true() if after is None else k.c.val < after)


@dataclass(frozen=True)
class Between:
    """A range compared with the range `low`..`high`, both ends included, by FHIR's prefixes.

    A key's own range runs from `val` to `high`; without `high` it has no end. Only keys whose
    `val` begins with `begins` are compared. http://hl7.org/fhir/R4/search.html#prefix
    """

    param: int
    low: str
    high: str
    prefix: Comparison = "eq"
    begins: str = ""

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """One row of the table of prefixes."""
        return rows.has_key(self.param, lambda k: and_(self._begun(k), compared(self.prefix, k, self.low, self.high)))

    def _begun(self, k: FromClause) -> ColumnElement[bool]:
        return Prefix(self.param, self.begins).on(k) if self.begins else true()


@dataclass(frozen=True)
class Contains:
    """A value that has this text in it; the one condition that no index can serve."""

    param: int
    text: str

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """Look for the text as it is: LIKE knows wildcards and, on SQLite, no upper and lower case."""
        if "\0" in self.text:
            return false()
        if not self.text:
            return Present(self.param).sql(rows)
        return rows.has_key(self.param, lambda k: func.replace(k.c.val, self.text, "") != k.c.val)


@dataclass(frozen=True)
class Stamped:
    """A version with meta.lastUpdated in this half-open span of milliseconds since 1970; None for no bound."""

    low_ms: int | None = None
    below_ms: int | None = None

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """Times grow with commit numbers, so each bound of time is one of `seq`."""
        above = true() if self.low_ms is None else rows.v.c.seq > last_before(rows.tenant, self.low_ms)
        return and_(above, true() if self.below_ms is None else rows.v.c.seq <= last_before(rows.tenant, self.below_ms))


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
        """EXISTS ... IN those the references may name."""
        found = self._found(rows)
        return rows.has_key(self.param, lambda k: aside(k.c.val).in_(found))

    def on(self, rows: Rows) -> OfKey:
        """Whether a key names one of the resources asked for, to be looked up in the index of keys."""
        found = self._found(rows)
        return lambda k: k.c.val.in_(found)

    def _found(self, rows: Rows) -> Select[str]:
        """The resources asked for, which are found first."""
        target = rows.other()
        named = select(target.v.c.type + "/" + target.v.c.id)
        return apart(named.where(target.live, OfType(self.types).sql(target), matching(target, self.inner)))


@dataclass(frozen=True)
class Reverse:
    """Referred to, by `param`, from a resource of `type` for which `inner` holds."""

    type: str
    param: int
    inner: Node

    def sql(self, rows: Rows) -> ColumnElement[bool]:
        """IN whom those name that refer, which are found first."""
        return (rows.v.c.type + "/" + rows.v.c.id).in_(self.named(rows))

    def seqs(self, rows: Rows) -> Select[int]:
        """The commit numbers of all versions of those that are named, each looked up in an index."""
        val, v = self.named(rows).subquery().c.val, tables.version.alias()
        slash = strpos(val + "/", "/")  # some, as of logical references, have none
        type_, id_ = func.substr(val, 1, slash - 1).label("type"), func.substr(val, slash + 1).label("id")
        named = apart(select(type_, id_)).subquery()
        this = and_(v.c.type == named.c.type, v.c.id == named.c.id)
        return select(v.c.seq).join_from(named, v, and_(v.c.tenant == rows.tenant, this))

    def named(self, rows: Rows) -> Select[str]:
        """Whom those name that refer; who is named by several, as often."""
        source, k = rows.other(), tables.key.alias()
        return (
            select(k.c.val)
            .join_from(k, source.v, and_(k.c.tenant == source.v.c.tenant, k.c.seq == source.v.c.seq))
            .where(k.c.tenant == rows.tenant, k.c.param == self.param)
            .where(source.live, source.v.c.type == self.type, matching(source, self.inner))
        )


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

Indexed = Keys | Prefix | Chain  # what the index of keys can answer without a look at versions
Countable = Indexed | Reverse  # what an index leads to, so that few of them are counted in no time

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


def conjuncts(where: Node) -> Iterator[Node]:
    """Take ANDs apart."""
    if isinstance(where, And):
        for node in where.nodes:
            yield from conjuncts(node)
    else:
        yield where


def seqs(rows: Rows, node: Countable) -> Select[int]:
    """Return the commit numbers of all versions, past ones too, for which `node` holds."""
    if isinstance(node, Reverse):
        return node.seqs(rows)
    return rows.with_key(node.param, node.on(rows) if isinstance(node, Chain) else node.on)


def matching(rows: Rows, where: Node) -> ColumnElement[bool]:
    """Return a condition on many rows: the first part that an index can answer is asked of it."""
    parts = list(conjuncts(where))
    first = next((part for part in parts if isinstance(part, Indexed)), None)
    asked = (rows.v.c.seq.in_(seqs(rows, part)) if part is first else part.sql(rows) for part in parts)
    return and_(true(), *asked)
