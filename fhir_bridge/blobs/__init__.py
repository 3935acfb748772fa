"""Encrypted audio at rest: written once, hashed while it is written, verified while it is read."""

from fhir_bridge.blobs.folder import Blobs, BlobWriter
from fhir_bridge.blobs.sealing import Blob

__all__ = ["Blob", "BlobWriter", "Blobs"]
