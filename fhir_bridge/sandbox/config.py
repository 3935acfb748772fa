"""The first message of a socket: checked, and given back with every default filled in (corti-api 3.3, 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from fhir_bridge.sandbox.decode import AudioFormat, BadAudio
from fhir_bridge.sandbox.shapes import LANGUAGES, Json, Keyterms, Participant, Replacements, Shape, Text

if TYPE_CHECKING:
    from fhir_bridge.sandbox.engine import Engine
    from fhir_bridge.sandbox.switches import Switches

C = TypeVar("C", bound="Common")


class Transcription(Shape):
    """`transcription` of /streams."""

    primary_language: Text
    diarize: bool | None = None
    is_diarization: bool | None = None
    is_multichannel: bool = False
    participants: list[Participant]


class Mode(Shape):
    """`mode` of /streams."""

    type: Literal["facts", "transcription"]
    output_locale: str | None = None
    fact_generation_interval: Literal["fixed", "fast_init"] = "fixed"


class AudioEvents(Shape):
    """`audioEvents`."""

    enabled: bool = False


class Common(Shape):
    """What both sockets know."""

    audio_format: str | None = None
    audio_events: AudioEvents = AudioEvents()
    keyterms: Keyterms = Keyterms()
    replacements: Replacements = Field(default_factory=list)


class StreamsConfig(Common):
    """`configuration` of /streams."""

    transcription: Transcription
    mode: Mode
    retention_policy: Literal["retain", "none"] | None = None
    old_retention_policy: Annotated[Literal["retain", "none"] | None, Field(alias="X-Corti-Retention-Policy")] = None


class TranscribeConfig(Common):
    """`configuration` of /transcribe: flat; formatting and commands are taken and ignored."""

    primary_language: Text
    interim_results: bool = False
    spoken_punctuation: bool = False
    automatic_punctuation: bool = False


@dataclass(frozen=True)
class Resolved:
    """What a session needs to know of its configuration."""

    echo: Json
    language: str
    form: AudioFormat | None
    multichannel: bool = False
    diarize: bool = False
    channels: tuple[int, ...] = (0,)
    facts: bool = False
    fast_init: bool = False
    retained: bool = False
    audio_events: bool = False
    replacements: tuple[tuple[str, str], ...] = ()


class Refused(Exception):
    """The configuration is not taken; `kind` is the message type that says so."""

    def __init__(self, reason: str, kind: str = "CONFIG_DENIED") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


def resolved_streams(configuration: object, engine: Engine, switches: Switches) -> Resolved:
    """The configuration of /streams, or why not."""
    config = _checked(StreamsConfig, configuration)
    spoken = config.transcription
    form = _common(config, spoken.primary_language, engine, switches)
    diarize = spoken.diarize if spoken.diarize is not None else bool(spoken.is_diarization)
    if spoken.is_multichannel and not spoken.participants:
        raise Refused("multichannel audio needs a participant per channel")
    if config.mode.type == "facts" and not config.mode.output_locale:
        raise Refused("mode facts needs outputLocale")
    policy = config.retention_policy or config.old_retention_policy or "retain"
    echo = config.model_dump(by_alias=True, mode="json", exclude_none=True, exclude={"old_retention_policy"})
    echo["transcription"] |= {"diarize": diarize, "isDiarization": diarize}
    echo["retentionPolicy"] = policy
    return Resolved(
        echo=echo,
        language=spoken.primary_language,
        form=form,
        multichannel=spoken.is_multichannel,
        diarize=diarize,
        channels=tuple(one.channel for one in spoken.participants) or (0,),
        facts=config.mode.type == "facts",
        fast_init=config.mode.fact_generation_interval == "fast_init",
        retained=policy == "retain",
        audio_events=config.audio_events.enabled,
        replacements=tuple((one.find, one.replace) for one in config.replacements),
    )


def resolved_transcribe(configuration: object, engine: Engine, switches: Switches) -> Resolved:
    """The configuration of /transcribe, or why not."""
    config = _checked(TranscribeConfig, configuration)
    return Resolved(
        echo=config.model_dump(by_alias=True, mode="json", exclude_none=True),
        language=config.primary_language,
        form=_common(config, config.primary_language, engine, switches),
        audio_events=config.audio_events.enabled,
        replacements=tuple((one.find, one.replace) for one in config.replacements),
    )


def _checked(shape: type[C], configuration: object) -> C:
    try:
        return shape.model_validate(configuration)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        raise Refused(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from exc


def _common(config: Common, language: str, engine: Engine, switches: Switches) -> AudioFormat | None:
    if switches.config_denied is not None:
        raise Refused(switches.config_denied)
    unheard = language_refusal(language, engine)
    if unheard is not None:
        raise Refused(unheard)
    if config.audio_format is None:
        return None
    if switches.format_refusal != "error" and config.audio_format.startswith(switches.refused_formats or ("\0",)):
        raise Refused("unsupported audio format", switches.format_refusal)
    try:
        return AudioFormat.parse(config.audio_format)
    except BadAudio as exc:
        raise Refused(str(exc)) from exc


def language_refusal(language: str, engine: Engine) -> str | None:
    """Why a language is not available, naming those that are; the recogniser at hand may know fewer than Corti."""
    offered = engine.languages or LANGUAGES
    if language in offered:
        return None
    return f"language {language} is not available; available: {', '.join(offered)}"
