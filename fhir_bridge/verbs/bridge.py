"""What the verbs work with: the rooms of one running bridge, opened once for each process."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from fhir_bridge.blobs import Blobs, open_blobs
from fhir_bridge.errors import BadSetting
from fhir_bridge.keyring import KeyRing
from fhir_bridge.store.store import Store
from fhir_bridge.verbs.admission import Door

if TYPE_CHECKING:
    from fhir_bridge.settings import Settings


@dataclass(frozen=True)
class Bridge:
    """The open rooms. `origin` has no path; the FHIR base is `origin` + /fhir."""

    settings: Settings
    store: Store
    blobs: Blobs
    keyring: KeyRing
    origin: str
    door: Door = field(default_factory=Door)

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open everything; threads and connections begin with their first use.

        Raises:
            BadSetting: no public URL: whoever starts a web process says where it listens.
        """
        if settings.public_url is None:
            raise BadSetting("The public URL is not known", at="FHIR_BRIDGE_PUBLIC_URL")
        return cls(
            settings=settings,
            store=Store.open(settings),
            blobs=open_blobs(settings),
            keyring=KeyRing.open(settings),
            origin=settings.public_url.rstrip("/"),
        )

    def of(self, tenant: str) -> Self:
        """Return the same rooms for one tenant: its rows alone are in the store."""
        return replace(self, store=self.store.of(tenant))

    def of_all(self) -> Self:
        """Return the same rooms for what is to find out whose something is."""
        return replace(self, store=self.store.of_all())

    @property
    def base(self) -> str:
        """The FHIR base URL, without a slash at its end."""
        return f"{self.origin}/fhir"
