"""One resource to be written, with all that its plan may need to know."""

from __future__ import annotations

import json as stdlib_json
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.rest import encode
from fhir_bridge.verbs.policy import permit
from fhir_bridge.verbs.read import find
from fhir_bridge.verbs.record import new_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.blobs.sealing import Blob
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.filter import Filter
    from fhir_bridge.store.versions import NewVersion, Row
    from fhir_bridge.verbs.bridge import Bridge

_RELATIVE: Final = re.compile(r"(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9.\-]{1,64})")
_SET_BY_US: Final = frozenset({"id", "meta"})


@dataclass(frozen=True)
class Case:
    """A resource as sent, under the id it will have.

    `current` is what is there now; `blobs` its audio by element path; `within` the other
    resources of the same transaction by Type/id, and `uploads` the content of its Binaries.
    """

    bridge: Bridge
    grant: Grant
    json: Json
    method: Literal["POST", "PUT"]
    current: Row | None = None
    blobs: Mapping[str, Blob] = field(default_factory=dict)
    within: Mapping[str, Json] = field(default_factory=dict)
    expect: int | None = None
    uploads: Mapping[str, Blob] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """The resource type."""
        return str(self.json["resourceType"])

    @property
    def id(self) -> str:
        """The id it is stored under."""
        return str(self.json["id"])

    def version(self, json: Json | None = None) -> NewVersion:
        """Return the version to store of this resource, or of `json` in its place.

        Raises:
            Forbidden: the Grant does not reach this content.
        """
        made = new_version(json or self.json, method=self.method, author=self.grant.client, base=self.bridge.base)
        permit(self.grant, "c" if self.method == "POST" else "u", made)
        return made if self.expect is None else replace_expect(made, self.expect)

    def referenced(self, reference: str | None, filter_: Filter) -> Json | None:
        """Return what a literal reference names: in this transaction, or in the store within `filter_`."""
        encoded = encode.reference(reference or "", base=self.bridge.base)
        found = _RELATIVE.fullmatch(encoded or "")
        if found is None:
            return None
        if found.group() in self.within:
            return self.within[found.group()]
        row = find(self.bridge, filter_, found["type"], found["id"])
        return read(row.body) if row is not None and not row.deleted else None


def replace_expect(version: NewVersion, expect: int) -> NewVersion:
    """Return the version with the vid that If-Match names."""
    return type(version)(**(vars(version) | {"expect": expect}))


def digest_of(json: Json, *extra: str) -> str:
    """Return a digest of a resource's content, whatever the order of its elements: what "the same" means (ruling 3)."""
    content = {name: value for name, value in json.items() if name not in _SET_BY_US}
    text = stdlib_json.dumps([content, *extra], sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()
