"""Recordings at another host: fetched before anything is accepted, if FHIR_BRIDGE_AUDIO_HOSTS names it (ruling 26)."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from fhir_bridge.errors import BusinessRule, TooLarge
from fhir_bridge.fhir.resource.tree import each, only, text
from fhir_bridge.fhir.rest import encode
from fhir_bridge.verbs.recording import DATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.verbs.bridge import Bridge
    from fhir_bridge.verbs.intake import Intake

SECONDS: Final = 120.0


def fetch(bridge: Bridge, grant: Grant, intake: Intake, json: Json) -> None:
    """Fetch what the Media in a body, alone or in a Bundle, name at hosts that are allowed.

    Audio that came with the body counts more. A client that may write no Media makes the
    bridge fetch nothing: it will be refused with the reason. What an entry of a batch names
    and nobody gives is that entry's fault alone, and told there.

    Raises:
        BusinessRule, TooLarge: what the host does not give, with the element.
    """
    if not (grant.scopes_for("Media", "c") or grant.scopes_for("Media", "u")):
        return
    for prefix, media in _media(json):
        url = text(only(media, "content"), "url")
        if url is not None and prefix + DATA not in intake.blobs and _is_allowed(bridge, url):
            with suppress(BusinessRule, TooLarge) if json.get("type") == "batch" else nullcontext():
                intake.fetched(prefix + DATA, url, of=str(json["resourceType"]), seconds=SECONDS)


def _media(json: Json) -> Iterator[tuple[str, Json]]:
    if json.get("resourceType") == "Media":
        yield "", json
    if json.get("resourceType") == "Bundle":
        for index, entry in enumerate(each(json, "entry")):
            resource = only(entry, "resource")
            if resource.get("resourceType") == "Media":
                yield f"entry[{index}].resource.", resource


def _is_allowed(bridge: Bridge, url: str) -> bool:
    if (encode.reference(url, base=bridge.base) or "").startswith("Binary/"):
        return False
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    return host is not None and host in {name.lower() for name in bridge.settings.audio_hosts}
