"""Every SQL statement: the way in and out of the database, its tables, and what is asked of them."""

from __future__ import annotations

from fhir_bridge.store.filter import Filter
from fhir_bridge.store.resources import NewVersion, Page, Row
from fhir_bridge.store.schema import migrate
from fhir_bridge.store.store import Store

__all__ = ["Filter", "NewVersion", "Page", "Row", "Store", "migrate"]
