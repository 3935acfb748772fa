"""Where audio is kept: which of the two kinds of place, as the settings say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import TypeAdapter, ValidationError

from fhir_bridge.blobs.folder import Folder
from fhir_bridge.blobs.writing import STRAY_SECONDS
from fhir_bridge.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from fhir_bridge.blobs.writing import BlobWriter
    from fhir_bridge.settings import Settings

_OPTIONS = "FHIR_BRIDGE_AUDIO_OPTIONS"


class Blobs(Protocol):
    """Every blob of this bridge: in a folder, or in an object store."""

    def create(self, tenant_key: bytes) -> BlobWriter:
        """Begin a blob that only `tenant_key` will open."""
        ...

    def reader(self, blob_id: str, wrapped_key: str, tenant_key: bytes, size: int) -> BinaryIO:
        """Open a blob as a seekable read-only file that verifies each chunk it gives out."""
        ...

    def delete(self, blob_id: str) -> None:
        """Remove a blob; one that is gone already is fine."""
        ...

    def shred(self, blob_id: str) -> None:
        """Remove a blob, overwriting it where that means something."""
        ...

    def strays(self, known: Iterable[str], *, older_than: float = STRAY_SECONDS) -> Iterator[str]:
        """Name what no row refers to; `known` are the ids that rows hold."""
        ...

    def delete_stray(self, name: str) -> None:
        """Remove what `strays` named."""
        ...

    def free_bytes(self) -> int:
        """Tell how much may still be written on this machine."""
        ...


def open_blobs(settings: Settings) -> Blobs:
    """Open the place that `FHIR_BRIDGE_AUDIO_URL` names, else the folder `audio` in the data directory.

    Raises:
        BadSetting: it names none.
    """
    url = settings.audio_url
    if url is None:
        return Folder(settings.data_dir / "audio")
    scheme, separator, path = url.partition("://")
    if not separator or scheme == "file":
        return Folder(Path(path if separator else url))
    try:
        from fhir_bridge.blobs.bucket import Bucket  # noqa: PLC0415 - needs an extra
    except ImportError as exc:
        text = "An object store for audio needs the extra fhir-bridge[s3]"
        raise BadSetting(text, at="FHIR_BRIDGE_AUDIO_URL") from exc
    return Bucket(url, _options(settings), settings.data_dir / "outgoing")


def _options(settings: Settings) -> dict[str, str]:
    given = settings.audio_options
    if given is None:
        return {}
    try:
        return TypeAdapter(dict[str, str]).validate_json(given.get_secret_value())
    except ValidationError as exc:
        text = f'{_OPTIONS} is a JSON object of texts, such as {{"region": "eu-central-1"}}'
        raise BadSetting(text, at=_OPTIONS) from exc
