"""Every way in which this Corti can misbehave or may differ from the real one (corti-api 8, 10)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Switches(BaseModel):
    """Named switches; the defaults are a healthy Corti. Set by `PATCH /__sandbox/switches` or in process."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    # --- the socket before audio
    config_timeout: float = Field(10.0, description="seconds a client has for its config")
    config_delay: float = Field(0.0, description="seconds before the config is answered")
    config_silence: bool = Field(default=False, description="never answer the config")
    config_denied: str | None = Field(None, description="refuse every config for this reason")
    refused_formats: tuple[str, ...] = Field((), description="audioFormat prefixes that are refused")
    format_refusal: Literal["CONFIG_DENIED", "CONFIG_REJECTED", "error"] = "CONFIG_DENIED"
    close_after_missing: bool = Field(default=True, description="audio before config closes the socket (unknown)")
    second_socket: Literal["allow", "refuse", "replace"] = Field("allow", description="unknown (corti-api 10)")
    bare_config_accepted: bool = Field(default=False, description="the form before May 2026, without configuration")

    # --- breaking off
    drop_at_byte: int | None = Field(None, description="reset the TCP connection after so many bytes of audio")
    close_at: float | None = Field(None, description="close after so many seconds of audio of a connection")
    close_code: int = Field(1011, description="code for close_at; 1006 is a reset without a close frame")
    breaks: int = Field(1, description="how many connections drop_at_byte and close_at hit")
    idle_timeout: float | None = Field(None, description="close 1001 after so many seconds without a frame (unknown)")
    session_limit: float | None = Field(None, description="close 1000 after so many seconds (unknown)")
    token_checked_midstream: bool = Field(default=False, description="close 1008 when the token expires (unknown)")
    untold_lost_at_break: bool = Field(default=False, description="what was heard but not sent is gone (unknown)")
    ping_interval: float | None = Field(None, description="seconds between server pings (unknown)")

    # --- what is heard and when
    time_origin: Literal["connection", "interaction"] = Field("connection", description="after a resume (unknown)")
    transcript_interval: float | None = Field(None, description="seconds of audio between transcript messages")
    shuffled_segments: bool = Field(default=False, description="diarised segments out of order, several in a message")
    hold_transcripts: bool = Field(default=False, description="one message with everything at the end")
    repeat_facts: bool = Field(default=False, description="send each fact again with a new wording, same id")
    new_fact_ids_on_resume: bool = Field(default=False, description="a resumed stream tells known facts anew")
    reword_known_facts: bool = Field(default=False, description="a new stream rewords facts it knows, same id")
    evidence: Literal["always", "rest", "never"] = Field("always", description="where facts name theirs (unknown)")
    fast_audio_dropped_after: float | None = Field(None, description="seconds ahead of real time before audio is lost")
    unknown_messages: bool = Field(default=False, description="message types and enum values nobody has documented")
    audio_error_at: float | None = Field(None, description="`error` after so many seconds of audio, then the end")
    wav_autodetected: bool = Field(default=True, description="a WAV header without audioFormat is understood (unknown)")

    # --- spelling
    fact_key: Literal["fact", "facts", "data"] = "fact"
    type_case: Literal["exact", "lower", "upper"] = "exact"

    # --- ending
    final_delay: float = Field(0.0, description="seconds between `end` and the last results")
    usage: Literal["before", "after", "none"] = Field("before", description="place of `usage` around `ENDED`")
    ended: bool = Field(default=True, description="whether `ENDED` is sent at all")
    close_after_ended: bool = Field(default=True, description="whether the server closes after `ENDED`")
    flushed: bool = Field(default=True, description="whether `flush` is answered")

    # --- REST
    token_seconds: int = Field(300, description="life of a token")
    tenant_required: bool = True
    slash_redirect: bool = Field(default=True, description="307 for a collection without its slash, else 404")
    error_form: Literal["2026", "2025"] = Field("2026", description="2025 has A00xx ids, title and details")
    missing_field_status: Literal[400, 500] = Field(400, description="500 was seen for a missing field")
    duplicate_identifier: Literal["400", "409", "500", "accept"] = Field("400", description="unknown (corti-api 10)")
    unknown_fields_refused: bool = Field(default=False, description="e.g. the old Tzoffset fields (unknown)")
    create_status: Literal[200, 201] = 201
    websocket_url_query: bool = Field(default=True, description="websocketUrl already has ?tenant-name=")
    extra_fields: bool = Field(default=True, description="answers carry members nobody has documented")
    visible_after: float = Field(0.0, description="seconds before a new recording is found")
    transcript_polls: int = Field(0, description="how often a transcript is still `processing`")
    transcript_outcome: Literal["completed", "failed"] = "completed"
    transcript_null: bool = Field(default=False, description="`transcripts: null`")
    transcript_unit: Literal["ms", "s"] = Field("ms", description="unit of start and end (sources disagree)")
    transcript_status_code: Literal[200, 202] = 200
    sync_seconds: float = Field(25.0, description="how long a synchronous transcript is waited for")
    facts_stored: bool = Field(default=True, description="whether facts of a stream are found by REST")
    credit: bool = Field(default=True, description="false: 429 insufficient balance")
