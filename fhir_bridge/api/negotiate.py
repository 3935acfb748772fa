"""Content negotiation as FHIR's HTTP page asks (http://hl7.org/fhir/R4/http.html#mime-type)."""

from __future__ import annotations

from typing import Final

from flask import request

from fhir_bridge.errors import NotAcceptable, UnsupportedMediaType

FHIR_JSON: Final = "application/fhir+json"
JSON_PATCH: Final = "application/json-patch+json"
# What a client may ask for, and what it is then answered with.
_ANSWERED_WITH: Final = {
    FHIR_JSON: FHIR_JSON,
    "application/json+fhir": FHIR_JSON,
    "application/*": FHIR_JSON,
    "*/*": FHIR_JSON,
    "application/json": "application/json",
    "text/json": "application/json",
}
_FORMATS: Final = {"json": FHIR_JSON, "application/json": FHIR_JSON, FHIR_JSON: FHIR_JSON}
_OF_FHIR: Final = frozenset(
    {FHIR_JSON, "application/json+fhir", "application/json", "text/json", "application/fhir+xml"}
)
_NAMES_OF_FHIR: Final = frozenset({FHIR_JSON, "application/json+fhir"})  # these ask for FHIR's form whatever is stored
_READ: Final = frozenset({FHIR_JSON, "application/json", "application/json+fhir", "text/json"})


def answered_with() -> str:
    """Return the MIME type to answer with.

    Raises:
        NotAcceptable: the client wants nothing that is served, such as XML.
    """
    wanted = request.args.get("_format")
    if wanted:
        found = _FORMATS.get(wanted.replace(" ", "+").partition(";")[0].lower())
    elif not request.accept_mimetypes:
        found = FHIR_JSON
    else:
        found = next((_ANSWERED_WITH[mime] for mime in _accepted() if mime in _ANSWERED_WITH), None)
    if found is None:
        raise NotAcceptable(f"Only FHIR JSON is served: ask for {FHIR_JSON}")
    return found


def _accepted() -> list[str]:
    """The accepted types, best first, of FHIR version 4.0 where they name one."""
    ranges = [(value.lower().replace(" ", ""), quality) for value, quality in request.accept_mimetypes if quality > 0]
    plain = [_plain(value) for value, _ in ranges]
    return [mime for mime in plain if mime is not None]


def _plain(value: str) -> str | None:
    mime, *parameters = value.split(";")
    versions = [text.partition("=")[2] for text in parameters if text.startswith("fhirversion=")]
    return mime if all(version in {"4.0", '"4.0"'} for version in versions) else None


def is_fhir_body() -> bool:
    """Tell whether the request's body says it is FHIR JSON."""
    return request.mimetype in _READ


def require_fhir_body() -> None:
    """Refuse a body in another format.

    Raises:
        UnsupportedMediaType: naming what is read here.
    """
    if not is_fhir_body() or _plain(request.content_type.lower().replace(" ", "")) is None:
        raise UnsupportedMediaType(f"Send the body as {FHIR_JSON}")
    require_plain_encoding()


def require_plain_encoding() -> None:
    """Refuse compressed bodies: 200 MB of zeros arrive as 194 kB (security.md, row D)."""
    if request.headers.get("Content-Encoding", "identity").lower() not in {"identity", ""}:
        raise UnsupportedMediaType("Send the body without Content-Encoding")


def wants_raw(stored: str) -> bool:
    """Tell whether a Binary is to be answered as its bytes: unless FHIR was asked for, it is (R4 binary.html)."""
    if request.args.get("_format"):
        return False
    accepted = _accepted()
    if not accepted or (stored in accepted and stored not in _NAMES_OF_FHIR):
        return True
    return _OF_FHIR.isdisjoint(accepted)


def asks_for_sound() -> bool:
    """Tell whether Accept wants sound more than anything else, and no form of FHIR."""
    accepted = [] if request.args.get("_format") else _accepted()
    first = next((mime for mime in accepted if mime.startswith("audio/") or mime in _ANSWERED_WITH), "")
    return first.startswith("audio/") and _READ.isdisjoint(accepted)


def takes_sound(stored: str) -> bool:
    """Tell whether Accept names this kind of sound, or any."""
    return not {"audio/*", "*/*", stored.partition(";")[0]}.isdisjoint(_accepted())


def preference(name: str) -> str | None:
    """Return the value of one preference of the Prefer headers (RFC 7240), in lower case."""
    words = (word.strip() for word in request.headers.get("Prefer", "").replace(";", ",").split(","))
    pairs = (word.partition("=") for word in words if word)
    return next((value.strip().strip('"').lower() for key, _, value in pairs if key.strip().lower() == name), None)
