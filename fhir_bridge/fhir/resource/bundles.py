"""The rules of a Bundle, bdl-1 to bdl-12 (http://hl7.org/fhir/R4/bundle.html#invariants)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.resource.tree import each, has, only, text

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json

_ASKS: Final = frozenset({"batch", "transaction", "history"})
_ANSWERS: Final = frozenset({"batch-response", "transaction-response", "history"})


def total_only_in_search_and_history(bundle: Json) -> bool:
    """bdl-1."""
    return not has(bundle, "total") or text(bundle, "type") in {"searchset", "history"}


def search_only_in_searchset(bundle: Json) -> bool:
    """bdl-2."""
    return text(bundle, "type") == "searchset" or not any("search" in entry for entry in each(bundle, "entry"))


def request_where_it_belongs(bundle: Json) -> bool:
    """bdl-3."""
    wanted = text(bundle, "type") in _ASKS
    return all(("request" in entry) == wanted for entry in each(bundle, "entry"))


def response_where_it_belongs(bundle: Json) -> bool:
    """bdl-4."""
    wanted = text(bundle, "type") in _ANSWERS
    return all(("response" in entry) == wanted for entry in each(bundle, "entry"))


def full_urls_differ(bundle: Json) -> bool:
    """bdl-7: the same fullUrl twice only in a history or with another version."""
    if text(bundle, "type") == "history":
        return True
    urls = [
        (entry["fullUrl"], text(only(only(entry, "resource"), "meta"), "versionId"))
        for entry in each(bundle, "entry")
        if "fullUrl" in entry
    ]
    return len(set(urls)) == len(urls)


def document_is_identified(bundle: Json) -> bool:
    """bdl-9."""
    identifier = only(bundle, "identifier")
    return text(bundle, "type") != "document" or (has(identifier, "system") and has(identifier, "value"))


def document_is_dated(bundle: Json) -> bool:
    """bdl-10."""
    return text(bundle, "type") != "document" or has(bundle, "timestamp")


def document_starts_with_composition(bundle: Json) -> bool:
    """bdl-11."""
    return text(bundle, "type") != "document" or _first_type(bundle) == "Composition"


def message_starts_with_header(bundle: Json) -> bool:
    """bdl-12."""
    return text(bundle, "type") != "message" or _first_type(bundle) == "MessageHeader"


def entry_has_something(entry: Json) -> bool:
    """bdl-5."""
    return not {"resource", "request", "response"}.isdisjoint(entry)


def full_url_names_no_version(entry: Json) -> bool:
    """bdl-8."""
    return "/_history/" not in (text(entry, "fullUrl") or "")


def _first_type(bundle: Json) -> str | None:
    return next((text(only(entry, "resource"), "resourceType") for entry in each(bundle, "entry")), None)
