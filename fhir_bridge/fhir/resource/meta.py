"""The stored text of a resource, cut open where the server's version and time go.

A version is stored as the text before and after `"versionId":"n","lastUpdated":"..."`,
so that both are put in by joining three strings, inside the store's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhir_bridge.fhir.resource.tree import only
from fhir_bridge.fhir.resource.writer import write

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json

_OURS = frozenset({"versionId", "_versionId", "lastUpdated", "_lastUpdated"})
_FIRST = frozenset({"resourceType", "id", "_id", "meta"})


@dataclass(frozen=True)
class Split:
    """A resource's text in two halves."""

    before: str
    after: str

    def join(self, vid: int, at: str) -> str:
        """Return the resource's text as version `vid`, last updated `at` (an instant)."""
        return f'{self.before}"versionId":"{vid}","lastUpdated":"{at}"{self.after}'


def split(json: Json, *, id: str) -> Split:  # noqa: A002 - FHIR's word, and the seam other packages call
    """Cut the text of `json` under `id`; the client's own id, versionId and lastUpdated are dropped.

    http://hl7.org/fhir/R4/http.html#create: the server sets them, other meta is kept.
    """
    meta: Json = {name: value for name, value in only(json, "meta").items() if name not in _OURS}
    rest: Json = {name: value for name, value in json.items() if name not in _FIRST}
    start = write({"resourceType": json["resourceType"], "id": id})
    return Split(f'{start[:-1]},"meta":{{', f"{_more(meta)}}}{_more(rest)}}}")


def _more(members: Json) -> str:
    """Return members as they continue an object that already has some."""
    return f",{write(members)[1:-1]}" if members else ""
