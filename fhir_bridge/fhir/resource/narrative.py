"""Narrative.div: well-formed XHTML of the subset FHIR allows, with nothing that runs.

http://hl7.org/fhir/R4/narrative.html, invariants txt-1 and txt-2. Read by one pattern
and a stack: no XML parser, so no entities to expand and no document to fetch.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Final

NAMESPACE: Final = "http://www.w3.org/1999/xhtml"


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_ELEMENTS: Final = _words(
    "a abbr acronym address b bdo big blockquote br caption cite code col colgroup dd del dfn div dl dt em h1 h2 h3 h4",
    "h5 h6 hr i img ins kbd li ol p pre q s samp small span strong sub sup table tbody td tfoot th thead tr tt u ul",
    "var",
)
_ATTRIBUTES: Final = _words(
    "abbr accesskey align alt axis bgcolor border cellpadding cellspacing char charoff charset cite class clear",
    "colspan compact coords datetime dir frame headers height href hreflang hspace id lang longdesc name nowrap rel",
    "rev rowspan rules scope shape span src start style summary tabindex title type valign value vspace width",
    "xml:lang xml:space xmlns",
)
_ENTITIES: Final = frozenset({"amp", "lt", "gt", "quot", "apos"})
_SCHEMES: Final = frozenset({"http", "https", "mailto", "tel", "ftp", "cid", "urn"})
_LINKS: Final = ("href", "src", "cite", "longdesc")
_TOKEN = re.compile(
    r"""(?P<text>[^<&]+)
    | &(?P<entity>[A-Za-z][A-Za-z0-9]*);
    | &(?P<char>\#[0-9]{1,7}|\#x[0-9A-Fa-f]{1,6});
    | (?P<comment><!--(?:(?!--)[^\0])*-->)
    | </(?P<end>[A-Za-z][\w:.-]*)\s*>
    | <(?P<start>[A-Za-z][\w:.-]*)(?P<attributes>(?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(?P<empty>/?)>
    """,
    re.VERBOSE,
)
_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*("[^"]*"|'[^']*')""")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):")
_SPACE_OR_CONTROL = re.compile(r"[\x00-\x20]+")


def fault_in(div: str) -> str | None:
    """Return what is wrong with a narrative, None if nothing is. The text repeats nothing of it."""
    try:
        _read(div.strip())
    except _Fault as fault:
        return str(fault)
    return None


class _Fault(Exception):
    """The first rule the narrative breaks."""


def _read(div: str) -> None:
    opened: list[str] = []
    at, content, root = 0, False, False
    while at < len(div):
        token = _TOKEN.match(div, at)
        if token is None:
            raise _Fault("is not well-formed XHTML")
        if not opened and (root or token["start"] is None):
            raise _Fault("must be one XHTML div element with nothing around it (txt-1)")
        root = True
        content = content or _is_content(token)
        _nest(token, opened)
        at = token.end()
    if opened or not root:
        raise _Fault("is not well-formed XHTML: an element is not closed")
    if not content:
        raise _Fault("has no content (txt-2)")


def _is_content(token: re.Match[str]) -> bool:
    """txt-2: some text that is not white space, or an image."""
    text = token["text"]
    return token["start"] == "img" or (text.strip() != "" if text else bool(token["entity"] or token["char"]))


def _nest(token: re.Match[str], opened: list[str]) -> None:
    start, end, entity = token["start"], token["end"], token["entity"]
    if entity and entity not in _ENTITIES:
        raise _Fault("has an HTML entity, which XML does not know: write the character itself")
    if start:
        _opening(start, token["attributes"], root=not opened)
        if not token["empty"]:
            opened.append(start)
    if end and (not opened or opened.pop() != end):
        raise _Fault("is not well-formed XHTML: an element is closed that was not the last opened")


def _opening(name: str, attributes: str, *, root: bool) -> None:
    if root and name != "div":
        raise _Fault("must be one XHTML div element (txt-1)")
    if name not in _ELEMENTS:
        raise _Fault("has an element outside the basic formatting FHIR allows (txt-1)")
    values: dict[str, str] = {}
    for attribute, quoted in _ATTRIBUTE.findall(attributes):
        if attribute in values:
            raise _Fault("is not well-formed XHTML: an attribute is given twice")
        values[attribute] = unescape(quoted[1:-1])
    if not values.keys() <= _ATTRIBUTES:
        raise _Fault("has an attribute that is not allowed, such as an event handler (txt-1)")
    if (root and "xmlns" not in values) or values.get("xmlns", NAMESPACE) != NAMESPACE:
        raise _Fault(f'must be a div with xmlns="{NAMESPACE}"')
    if not all(_safe(link, values[link]) for link in _LINKS if link in values):
        raise _Fault("links to something that could run (txt-1)")


def _safe(attribute: str, link: str) -> bool:
    """A browser drops white space and control characters before it reads the scheme."""
    bare = _SPACE_OR_CONTROL.sub("", link).lower()
    scheme = _SCHEME.match(bare)
    return scheme is None or scheme[1] in _SCHEMES or (attribute == "src" and bare.startswith("data:image/"))
