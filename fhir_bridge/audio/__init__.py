"""What a recording is, and its bytes by time."""

from fhir_bridge.audio.slices import Form, Slice, audio_format, preferred, slices, taken_whole, upload
from fhir_bridge.audio.sniff import HEAD, Sniffed, agrees, sniff
from fhir_bridge.audio.sound import Probe, Sound, inspect, probe

__all__ = [
    "HEAD",
    "Form",
    "Probe",
    "Slice",
    "Sniffed",
    "Sound",
    "agrees",
    "audio_format",
    "inspect",
    "preferred",
    "probe",
    "slices",
    "sniff",
    "taken_whole",
    "upload",
]
