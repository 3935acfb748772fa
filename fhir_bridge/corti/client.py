"""Corti's REST interface, one method a call (corti-api 2 and 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final, Literal

from fhir_bridge.corti import answers
from fhir_bridge.corti.reading import facts, id_of, object_of, objects_of, text_of
from fhir_bridge.corti.transport import Call, Transport
from fhir_bridge.errors import CortiNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fhir_bridge.corti.endpoint import Endpoint
    from fhir_bridge.corti.messages import EncounterStatus, Fact, Interaction, InteractionDraft
    from fhir_bridge.corti.recorded import (
        ExtractedFacts,
        FactChange,
        FactDraft,
        FactGroup,
        RecordedTranscript,
        TranscriptDraft,
    )
    from fhir_bridge.corti.token import TokenSource

# Items carry no trailing slash, collections always one: without it Corti answers 307 (corti-api 1.4).
_INTERACTIONS: Final = "/interactions/"
_INTERACTION: Final = "/interactions/{}"
_RECORDINGS: Final = "/interactions/{}/recordings/"
_RECORDING: Final = "/interactions/{}/recordings/{}"
_TRANSCRIPTS: Final = "/interactions/{}/transcripts/"
_TRANSCRIPT: Final = "/interactions/{}/transcripts/{}"
_TRANSCRIPT_STATUS: Final = "/interactions/{}/transcripts/{}/status"
_FACTS: Final = "/interactions/{}/facts/"
_FACT: Final = "/interactions/{}/facts/{}"


class CortiClient:
    """Corti as one tenant sees it. All errors are `errors.Corti…`; any number of threads may use it."""

    def __init__(self, endpoint: Endpoint, tokens: TokenSource, *, timeout: float = 30.0) -> None:
        self._corti = Transport(endpoint, tokens, timeout=timeout)

    # --- interactions ---

    def create_interaction(self, draft: InteractionDraft) -> Interaction:
        """Create an interaction. It is sent once: Corti knows no idempotency key (corti-api 1.5).

        Raises:
            CortiUnavailable: it may exist or not; look with `find_interaction` before a second POST.
            CortiDuplicate: the encounter identifier is taken.
        """
        call = Call("POST", _INTERACTIONS, body=draft.to_json(), repeat=False)
        return answers.interaction(self._corti.send(call).body)

    def interaction(self, interaction_id: str) -> Interaction:
        """Return one interaction."""
        return answers.interaction(self._corti.send(Call("GET", _INTERACTION, (interaction_id,))).body)

    def interactions(
        self,
        *,
        status: EncounterStatus | None = None,
        direction: Literal["asc", "desc"] = "desc",
        page_size: int = 50,
    ) -> Iterator[Interaction]:
        """Go through the interactions by creation time, newest first, page by page until an empty one."""
        params = {"sort": "createdAt", "direction": direction, "pageSize": page_size}
        if status is not None:
            params["encounterStatus"] = status
        index = 1
        while page := self._page({**params, "index": index}):
            yield from page
            index += 1

    def _page(self, params: dict[str, str | int]) -> list[Interaction]:
        body = self._corti.send(Call("GET", _INTERACTIONS, params=params)).body
        return [answers.interaction(item) for item in objects_of(object_of(body).get("interactions"))]

    def find_interaction(self, identifier: str, *, among: int = 200) -> Interaction | None:
        """Look for exactly this encounter identifier among the newest interactions; Corti has no filter for it."""
        newest = zip(range(among), self.interactions(), strict=False)
        return next((found for _, found in newest if found.identifier == identifier), None)

    def patch_interaction(self, interaction_id: str, draft: InteractionDraft) -> Interaction:
        """Bring an interaction to the state of `draft`; its identifier stays."""
        call = Call("PATCH", _INTERACTION, (interaction_id,), body=draft.to_patch())
        return answers.interaction(self._corti.send(call).body)

    def delete_interaction(self, interaction_id: str) -> bool:
        """Delete an interaction with all that hangs on it; False when Corti does not know it."""
        return self._delete(Call("DELETE", _INTERACTION, (interaction_id,)))

    def _delete(self, call: Call) -> bool:
        try:
            self._corti.send(call)
        except CortiNotFound:
            return False
        return True

    # --- recordings ---

    def upload_recording(self, interaction_id: str, audio: BinaryIO) -> str:
        """Send a seekable file as it is and return the recording's id.

        Raises:
            CortiUnavailable: the recording may be there or not; a second one does no harm.
        """
        call = Call("POST", _RECORDINGS, (interaction_id,), file=audio, repeat=False)
        return id_of(object_of(self._corti.send(call).body), "recordingId", "id")

    def recordings(self, interaction_id: str) -> tuple[str, ...]:
        """Return the ids of the recordings."""
        found = object_of(self._corti.send(Call("GET", _RECORDINGS, (interaction_id,))).body).get("recordings")
        return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()

    def recording(self, interaction_id: str, recording_id: str) -> Iterator[bytes]:
        """Return the sound of a recording in chunks."""
        return self._corti.stream(Call("GET", _RECORDING, (interaction_id, recording_id)))

    def delete_recording(self, interaction_id: str, recording_id: str) -> bool:
        """Delete a recording; False when Corti does not know it."""
        return self._delete(Call("DELETE", _RECORDING, (interaction_id, recording_id)))

    # --- transcripts of recordings ---

    def create_transcript(
        self, interaction_id: str, draft: TranscriptDraft, *, seconds: float | None = None
    ) -> RecordedTranscript:
        """Have a recording of `seconds` transcribed; the answer may be `processing` in either mode (corti-api 5.2)."""
        call = Call("POST", _TRANSCRIPTS, (interaction_id,), body=draft.to_json(), repeat=False)
        answer = self._corti.send(call)
        named = (answer.location or "").rstrip("/").removesuffix("/status").rpartition("/")[2]
        assumed = {"id": named, "status": "processing"}
        return answers.recorded_transcript({**assumed, **object_of(answer.body)}, seconds)

    def transcript_status(self, interaction_id: str, transcript_id: str) -> str:
        """Return `processing`, `completed`, `failed` or what else Corti may say."""
        body = object_of(self._corti.send(Call("GET", _TRANSCRIPT_STATUS, (interaction_id, transcript_id))).body)
        return text_of(body.get("status")).lower() or "processing"

    def transcript(
        self, interaction_id: str, transcript_id: str, *, seconds: float | None = None
    ) -> RecordedTranscript:
        """Return a transcript of a recording of `seconds`, with times in seconds."""
        body = self._corti.send(Call("GET", _TRANSCRIPT, (interaction_id, transcript_id))).body
        return answers.recorded_transcript(body, seconds)

    def transcripts(self, interaction_id: str, *, seconds: float | None = None) -> tuple[RecordedTranscript, ...]:
        """Return all transcripts of an interaction with their segments."""
        body = self._corti.send(Call("GET", _TRANSCRIPTS, (interaction_id,), params={"full": "true"})).body
        items = objects_of(object_of(body).get("transcripts"))
        return tuple(answers.recorded_transcript(item, seconds) for item in items)

    def delete_transcript(self, interaction_id: str, transcript_id: str) -> bool:
        """Delete a transcript; False when Corti does not know it."""
        return self._delete(Call("DELETE", _TRANSCRIPT, (interaction_id, transcript_id)))

    # --- facts ---

    def facts(self, interaction_id: str) -> tuple[Fact, ...]:
        """Return all facts of an interaction, discarded ones too."""
        return self._facts(Call("GET", _FACTS, (interaction_id,)))

    def add_facts(self, interaction_id: str, drafts: Sequence[FactDraft]) -> tuple[Fact, ...]:
        """Add facts; it is sent once, since twice would double them. An empty list asks nothing of Corti."""
        body = {"facts": [draft.to_json() for draft in drafts]}
        return self._facts(Call("POST", _FACTS, (interaction_id,), body=body, repeat=False)) if drafts else ()

    def change_fact(self, interaction_id: str, change: FactChange) -> tuple[Fact, ...]:
        """Change one fact and return it as Corti now has it."""
        call = Call("PATCH", _FACT, (interaction_id, change.fact_id), body=change.to_json())
        body = object_of(self._corti.send(call).body)
        return facts(body.get("fact") or body)

    def change_facts(self, interaction_id: str, changes: Sequence[FactChange]) -> tuple[Fact, ...]:
        """Change several facts at once."""
        body = {"facts": [{"factId": change.fact_id, **change.to_json()} for change in changes]}
        return self._facts(Call("PATCH", _FACTS, (interaction_id,), body=body)) if changes else ()

    def _facts(self, call: Call) -> tuple[Fact, ...]:
        return facts(object_of(self._corti.send(call).body).get("facts"))

    def fact_groups(self) -> tuple[FactGroup, ...]:
        """Return Corti's fact groups."""
        return answers.fact_groups(self._corti.send(Call("GET", "/factgroups/")).body)

    def extract_facts(self, text: str, language: str) -> ExtractedFacts:
        """Find facts in a text; nothing is stored, so it may be asked again. An empty text is not sent (400)."""
        if not text.strip():
            return answers.extracted({})
        body = {"context": [{"type": "text", "text": text}], "outputLanguage": language}
        return answers.extracted(self._corti.send(Call("POST", "/tools/extract-facts", body=body)).body)

    # --- languages ---

    def languages(self, used_for: Literal["streams", "transcribe", "transcripts"] = "streams") -> tuple[str, ...]:
        """Return the language tags Corti offers there."""
        return answers.languages(self._corti.send(Call("GET", "/languages/", params={"endpoint": used_for})).body)
