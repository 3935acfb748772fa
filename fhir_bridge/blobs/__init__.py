"""Encrypted audio at rest: written once, hashed while it is written, verified while it is read."""

from fhir_bridge.blobs.opening import Blobs, open_blobs
from fhir_bridge.blobs.sealing import Blob
from fhir_bridge.blobs.writing import BlobWriter

__all__ = ["Blob", "BlobWriter", "Blobs", "open_blobs"]
