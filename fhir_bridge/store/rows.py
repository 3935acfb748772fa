"""The rows a condition speaks about, and how text is kept so that both databases compare it alike."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Select, and_, exists, func, not_, or_, select

from fhir_bridge.store import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement, FromClause

    OfKey = Callable[[FromClause], ColumnElement[bool]]

Found = TypeVar("Found", bound=Select[Any])

LONGEST: Final = 512  # characters of a key; PostgreSQL indexes no more than about 2,700 bytes
LAST: Final = "\U0010ffff"  # after every text: a range without an end
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
        # "+ 0": true for nearly all, so no range of an index to begin with.
        return and_(mine, self.v.c.seq + 0 <= self.snapshot, or_(until.is_(None), until > self.snapshot))

    @property
    def live(self) -> ColumnElement[bool]:
        """Those that are not deletions."""
        return and_(self.theirs, not_(self.v.c.deleted))

    def has_key(self, param: int, that: OfKey) -> ColumnElement[bool]:
        """Whether the version has a key of `param` that ...: a question about one row at a time."""
        k = tables.key.alias()
        of_row = and_(k.c.tenant == self.tenant, k.c.seq == self.v.c.seq, k.c.param == param)
        return exists(select(1).select_from(k).where(of_row, that(k)).correlate(self.v))

    def with_key(self, param: int, that: OfKey) -> Select[int]:
        """The commit numbers of all versions that have a key of `param` that ...: read off the index of keys."""
        k = tables.key.alias()
        return select(k.c.seq).where(k.c.tenant == self.tenant, k.c.param == param, that(k))


def apart(found: Found) -> Found:
    """Have what a query finds computed before it is compared with other rows.

    PostgreSQL asks an index behind a policy only for what compares plain values: a function in
    the comparison could tell of rows that the policy hides (its manual, 41.5, "leakproof").
    """
    return found.offset(0)


def key_text(val: str) -> str:
    """Return how a key's value is stored: a long one is cut, and its digest keeps it distinct."""
    if len(val) <= LONGEST:
        return val
    return val[:LONGEST] + sha256(val.encode()).hexdigest()


def successor(prefix: str) -> str | None:
    """Return the first text after all that start with `prefix`, in code point order; None: there is none."""
    kept = prefix.rstrip(LAST)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)


def last_before(tenant: str, at_ms: int) -> ColumnElement[int]:
    """Return the last commit number stamped before a time, 0 when there is none."""
    past = tables.version.alias()
    last = select(past.c.seq).where(past.c.tenant == tenant, past.c.at_ms < at_ms)
    return func.coalesce(last.order_by(past.c.at_ms.desc(), past.c.seq.desc()).limit(1).scalar_subquery(), 0)
