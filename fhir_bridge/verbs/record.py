"""Turns FHIR content into what the store keeps: text, and the keys it is found by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge.fhir.resource.meta import split
from fhir_bridge.fhir.rest.keys import keys_of
from fhir_bridge.store.resources import NewVersion

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json

BRIDGE: Final = "bridge"  # the author of results: what an EHR wrote carries its client id instead


def new_version(
    json: Json, *, method: Literal["POST", "PUT"] = "POST", author: str = BRIDGE, base: str | None = None
) -> NewVersion:
    """Make a version to store of a resource that has passed its checks and has an `id`.

    `base` is the FHIR base URL: absolute references below it are found like relative ones.
    """
    type_, id_ = str(json["resourceType"]), str(json["id"])
    text = split(json, id=id_)
    keys = tuple((key.param, key.val, key.high) for key in keys_of(json, base=base))
    return NewVersion(type=type_, id=id_, before=text.before, after=text.after, keys=keys, method=method, author=author)
