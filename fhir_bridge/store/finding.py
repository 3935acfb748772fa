"""What `verify` says of a row that breaks a promise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One broken invariant and the row that breaks it, by its ids."""

    law: str
    tenant: str
    row: str
