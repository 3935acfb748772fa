"""batch: each entry by itself; what becomes of one is nothing to the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fhir_bridge.errors import BridgeError
from fhir_bridge.fhir.resource.tree import text
from fhir_bridge.verbs import audit
from fhir_bridge.verbs.bundles import answers
from fhir_bridge.verbs.bundles.asks import READING, ask_of
from fhir_bridge.verbs.bundles.links import require_alone
from fhir_bridge.verbs.bundles.parts import blobs_of, idle_told
from fhir_bridge.verbs.bundles.patches import change_of
from fhir_bridge.verbs.bundles.reads import answered
from fhir_bridge.verbs.delete import delete, delete_matching
from fhir_bridge.verbs.patch import patch, patch_matching
from fhir_bridge.verbs.write import create, update, update_matching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.fhir.rest.bundle import Done
    from fhir_bridge.verbs.bundles.answers import Returns
    from fhir_bridge.verbs.bundles.asks import Ask
    from fhir_bridge.verbs.write import Writer, Written


@dataclass(frozen=True)
class _Batch:
    by: Writer
    returns: Returns
    keep: Callable[[Iterable[str]], None]
    full_urls: frozenset[str]

    def done(self, index: int, entry: Json) -> Done:
        """Carry out one entry; a refusal is an answer too. Its write told the audit of it, or it is told here."""
        ask, written = None, audit.current().written
        try:
            ask = ask_of(index, entry, base=self.by.bridge.base)
            done = self._done(ask)
        except BridgeError as exc:
            done = answers.failed(exc, request=self.by.request)
        if audit.current().written == written:
            idle_told(self.by, ask, done)
        return done

    def _done(self, ask: Ask) -> Done:
        by = replace(self.by, blobs=blobs_of(self.by, ask))
        require_alone(ask, self.full_urls)
        if ask.method in READING:
            return answered(by, ask)
        if ask.method == "DELETE":
            _delete(by, ask)
            return answers.deleted(returns=self.returns)
        written = _written(by, ask)
        if written.keeps_audio:
            self.keep(blob.id for blob in by.blobs.values())
        return answers.stored(written.row, is_new=written.is_new, hints=written.hints, returns=self.returns)


def batch(by: Writer, entries: list[Json], returns: Returns, keep: Callable[[Iterable[str]], None]) -> tuple[Done, ...]:
    """Carry out the entries of a batch in their order; `keep` is told at once which blobs are part of it."""
    urls = frozenset(url for each in entries if (url := text(each, "fullUrl")))
    one = _Batch(by, returns, keep, urls)
    return tuple(one.done(index, each) for index, each in enumerate(entries))


def _delete(by: Writer, ask: Ask) -> None:
    if ask.id is not None:
        delete(by, ask.type, ask.id, expect=ask.expect)
    else:
        delete_matching(by, ask.type, ask.query, expect=ask.expect)


def _written(by: Writer, ask: Ask) -> Written:
    json = ask.json or {}
    if ask.method == "POST":
        return create(by, json, unless=ask.unless)
    if ask.method == "PUT" and ask.id is not None:
        return update(by, ask.id, json, expect=ask.expect)
    if ask.method == "PUT":
        return update_matching(by, json, ask.query, expect=ask.expect)
    change = change_of(by, ask)
    if ask.id is not None:
        return patch(by, ask.type, ask.id, change, expect=ask.expect)
    return patch_matching(by, ask.type, ask.query, change, expect=ask.expect)
