"""What others have cannot be told apart from what is not there: answers byte by byte, on all routes.

The same requests are sent to two bridges. One of them also holds the data of another
tenant, or of another patient; time and chance are the same in both.
"""

from __future__ import annotations

import json
import re
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import pytest
from http_routes import GUARDED
from policy_rows import BASE, FOREIGN, OURS, ROWS, Bearer, Door, Given, name, noted, patient_of

from fhir_bridge import clock
from fhir_bridge.app import create_app
from fhir_bridge.settings import Settings
from fhir_bridge.store import oauth, resources
from fhir_bridge.verbs.record import new_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY: Final = "a key for tests only"  # that of the migrated file
THEIRS: Final = tuple(each for each in ROWS if "Patient/p2" in patient_of(each))
MINE: Final = tuple(each for each in ROWS if each not in THEIRS)
HERS: Final = tuple(map(name, THEIRS))
LISTS: Final = (
    *dict.fromkeys(each.partition("/")[0] for each in HERS),
    "Encounter?_include=Encounter:subject&_revinclude=Observation:encounter",
    "Patient?_has:Observation:patient:status=final",
    "Observation?subject:Patient.gender=female",
    "Observation?_count=1",
    "Observation?_summary=count",
    "Patient/p2/*",
    "Encounter/e2/Observation",
    "Patient?_sort=gender",
    "_history?_count=3",
    "?_type=Patient,Encounter,Observation,Provenance",
)


class Fixed(clock.Clock):
    """The same moment and the same chances, for one request."""

    def __init__(self, number: int) -> None:
        self._number, self._drawn = number, 0

    def now(self) -> datetime:
        return datetime(2099, 1, 1, tzinfo=UTC) + timedelta(seconds=self._number)

    def random(self) -> float:
        return 0.5

    def token_bytes(self, size: int) -> bytes:
        self._drawn += 1
        return sha256(f"{self._number}.{self._drawn}".encode()).digest()[:size]


@contextmanager
def bridge_with(folder: Path, file: Path, fill: Callable[[Any, Any], None]) -> Iterator[Door]:
    folder.mkdir()
    shutil.copy(file, folder / file.name)
    app = create_app(Settings(data_dir=folder, secret_key=KEY, public_url=BASE))
    rooms = app.extensions["fhir-bridge"].of_all()

    def write(conn: Any) -> None:
        oauth.add_tenant(conn, oauth.new_tenant("elsewhere", rooms.keyring))
        oauth.add_client(conn, oauth.Client("ehr", "default", "ehr", "", 0))
        fill(conn, rooms.base)

    with clock.use(Fixed(-1000)):
        rooms.store.write(write)
    yield Door(app)
    rooms.store.close()


def put(conn: Any, base: str, tenant: str, rows: tuple[dict[str, Any], ...], note: str) -> None:
    resources.put(conn, tenant, tuple(new_version(noted(each, note), base=base) for each in rows))


def asked(*, hers_written: bool) -> list[tuple[str, str, Any, str]]:
    """All routes, at ids that nobody has and at those that only the other has."""
    found = [(each.method, each.path, each.body(), each.kind) for each in GUARDED]
    for each in GUARDED:
        if "Patient/nobody" in each.path and each.method != "PUT":
            found += [(each.method, each.path.replace("Patient/nobody", her), each.body(), each.kind) for her in HERS]
    if hers_written:
        found += [("PUT", name(each), noted(each, OURS), "application/fhir+json") for each in THEIRS]
    return found + [("GET", each, None, "") for each in (*LISTS, *HERS, *map(name, MINE))]


def answers(door: Door, bearer: Bearer, requests: list[tuple[str, str, Any, str]]) -> Iterator[tuple[str, Any]]:
    """What each request is answered with: status, headers and bytes."""
    with clock.use(Fixed(-10)):
        token = door.token(bearer)
    for number, (method, path, body, kind) in enumerate(requests):
        sent = None if body is None else json.dumps(body)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": kind, "X-Request-Id": f"r-{number}"}
        with clock.use(Fixed(number % 200)):
            answer = door.app.test_client().open(f"/fhir/{path}".rstrip("/"), method=method, data=sent, headers=headers)
            told = answer.status_code, sorted(answer.headers.items()), answer.get_data(as_text=True)
        yield f"{number}: {method} {path}", told


def same(one: Iterator[tuple[str, Any]], other: Iterator[tuple[str, Any]], shown: Callable[[Any], Any]) -> int:
    pairs = list(zip(one, other, strict=True))
    differing = [f"{at}: {left} - {right}" for (at, left), (_, right) in pairs if shown(left) != shown(right)]
    assert not differing, "\n".join(differing[:10])
    return len(pairs)


def unsealed(told: Any) -> Any:
    """An answer without the seals of page links, and the headers that are made of its bytes."""
    status, headers, body = told
    if "/_page/" in body:
        headers = [each for each in headers if each[0] not in {"ETag", "Content-Length"}]
    return status, headers, re.sub(r"_page/[^\"]+", "_page", body)


@pytest.mark.parametrize("rights", ["cruds", "rs"])
def test_the_data_of_another_tenant_changes_no_byte_of_any_answer(tmp_path, migrated_file, rights):
    bearer = Bearer((Given("system", "*", rights),))
    requests = asked(hers_written=True)

    def mine(conn: Any, base: str) -> None:
        put(conn, base, "default", MINE, OURS)

    def both(conn: Any, base: str) -> None:
        put(conn, base, "elsewhere", ROWS, FOREIGN)
        put(conn, base, "default", MINE, OURS)

    with (
        bridge_with(tmp_path / "one", migrated_file, mine) as alone,
        bridge_with(tmp_path / "two", migrated_file, both) as beside,
    ):
        compared = same(answers(alone, bearer, requests), answers(beside, bearer, requests), lambda told: told)

    assert compared > 2 * len(GUARDED)


def test_the_data_of_another_patient_changes_no_byte_of_any_answer(tmp_path, migrated_file):
    """But for the seal of page links, which holds the number of the store's last commit."""
    bearer = Bearer((Given("patient", "*", "cruds"),), patient="p1")
    requests = asked(hers_written=False)

    def hers(conn: Any, base: str) -> None:
        put(conn, base, "default", THEIRS, FOREIGN)
        with clock.use(Fixed(-900)):
            put(conn, base, "default", MINE, OURS)

    def mine(conn: Any, base: str) -> None:
        with clock.use(Fixed(-900)):
            put(conn, base, "default", MINE, OURS)

    with (
        bridge_with(tmp_path / "one", migrated_file, mine) as alone,
        bridge_with(tmp_path / "two", migrated_file, hers) as beside,
    ):
        same(answers(alone, bearer, requests), answers(beside, bearer, requests), unsealed)
