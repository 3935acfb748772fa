"""The matrix of writes: each row by each interaction that writes, with tokens of every kind.

What is out of reach is not written, whatever the answer; and the answer is that of what is
not there. The model is that of policy_rows.py.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest
from policy_rows import BASE, BEARERS, DOCUMENTS, OURS, ROWS, Bearer, Door, Row, fill, name, noted

from fhir_bridge.app import create_app
from fhir_bridge.settings import Settings
from fhir_bridge.store import Filter, resources
from fhir_bridge.verbs.record import new_version

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY: Final = "a key for tests only"  # that of the migrated file
# Those whose writing does no more than write; what that of the others brings along is tested where it is made.
# Those whose writing does no more than write: no Media, and no visit that anything belongs to. What the writing of
# those brings along is tested where it is made.
PLAIN: Final = (
    *(
        each
        for each in ROWS
        if each["resourceType"] in {"Patient", "Observation", "Provenance", "Practitioner", "Task"}
    ),
    *(each for each in ROWS if each["id"] == "e3"),
    *DOCUMENTS,
)
OTHER: Final = {"Patient/p1": "Patient/p2", "Patient/p2": "Patient/p1"}
PATCH: Final = [{"op": "replace", "path": "/meta/tag/0/display", "value": "changed"}]


@dataclass
class Hand:
    """One token writing each row in each way."""

    door: Door
    bearer: Bearer
    token: str
    cells: int = 0
    wrong: list[str] = field(default_factory=list)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        kind = "application/json-patch+json" if method == "PATCH" else "application/fhir+json"
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        sent |= {at.replace("_", "-"): each for at, each in headers.items()}
        http = self.door.app.test_client()
        return http.open(f"/fhir/{path}".rstrip("/"), method=method, data=body and json.dumps(body), headers=sent)

    def judge(self, what: str, rows: tuple[Row, ...], answered: tuple[int, int], *, written: bool) -> None:
        """A cell for the answer, and one for each row: written, or as it was; then all is as before."""
        self.cells += 1 + len(rows)
        bridge = self.door.app.extensions["fhir-bridge"].of_all()
        for each in rows:
            type_, id_ = each["resourceType"], each["id"]
            now = bridge.store.read(lambda conn, of=(type_, id_): resources.read(conn, Filter("default"), *of))
            changed = now.deleted or OURS not in now.body
            if changed != written:
                self.wrong.append(f"{self.bearer}: {what} {name(each)}: {'changed' if changed else 'unchanged'}")
            if changed:
                made = new_version(noted(each, OURS), base=bridge.base)
                bridge.store.write(lambda conn, made=made: resources.put(conn, "default", (made,)))
        if answered[0] != answered[1]:
            self.wrong.append(f"{self.bearer}: {what} {name(rows[0])}: {answered[0]}, not {answered[1]}")

    def reached(self, each: Row, right: str) -> int:
        """404 and 403 for what is out of reach, else 200."""
        if not self.bearer.has(each["resourceType"], right):
            return 403
        return 200 if self.bearer.lets(each, right) else 404

    def made(self, each: Row, *, right: str = "c") -> int:
        return 201 if self.bearer.lets(each, right) else 403

    # --- by id -----------------------------------------------------------------------------

    def by_id(self, each: Row) -> None:
        content, path, right = noted(each, "changed"), name(each), self.reached(each, "u")
        self.judge("PUT", (each,), (self.call("PUT", path, content).status_code, right), written=right == 200)
        self.judge("PATCH", (each,), (self.call("PATCH", path, PATCH).status_code, right), written=right == 200)
        removal = self.reached(each, "d")
        answer = self.call("DELETE", path).status_code
        self.judge("DELETE", (each,), (answer, 403 if removal == 403 else 204), written=removal == 200)
        stale = self.call("PUT", path, content, If_Match='W/"0"').status_code
        self.judge("If-Match", (each,), (stale, 412 if right == 200 else right), written=False)

    def moved(self, each: Row) -> None:
        """Content that would leave or enter the reach is not written."""
        at = "for" if each["resourceType"] == "Task" else "subject"
        subject = each.get(at, {}).get("reference")
        if subject not in OTHER:
            return
        content = noted(each, "changed") | {at: {"reference": OTHER[subject]}}
        right = self.reached(each, "u")
        right = 403 if right == 200 and not self.bearer.lets(content, "u") else right
        answer = self.call("PUT", name(each), content).status_code
        self.judge("PUT elsewhere", (each,), (answer, right), written=right == 200)
        change = [{"op": "replace", "path": f"/{at}/reference", "value": OTHER[subject]}, *PATCH]
        answer = self.call("PATCH", name(each), change).status_code
        self.judge("PATCH elsewhere", (each,), (answer, right), written=right == 200)

    # --- by condition ----------------------------------------------------------------------

    def by_condition(self, each: Row) -> None:
        type_ = each["resourceType"]
        path, content = f"{type_}?_id={each['id']}", noted(each, "changed")
        finds, updates = self.reached(each, "s"), self.reached(each, "u")
        may = 403 not in {finds, updates}
        both = may and finds == updates == 200
        put = 403 if not may else 200 if both else 409 if updates == 200 else 404
        self.judge("PUT if", (each,), (self.call("PUT", path, content).status_code, put), written=both)
        patched = 403 if not may else 200 if both else 404
        self.judge("PATCH if", (each,), (self.call("PATCH", path, PATCH).status_code, patched), written=both)
        removes = self.reached(each, "d")
        may = 403 not in {finds, removes}
        answer = self.call("DELETE", path).status_code
        self.judge("DELETE if", (each,), (answer, 204 if may else 403), written=may and finds == removes == 200)

    def created(self, each: Row) -> None:
        type_ = each["resourceType"]
        new = {at: value for at, value in noted(each, "new").items() if at != "id"}
        right = self.made(each | {"id": "new"})
        self.judge("POST", (each,), (self.call("POST", type_, new).status_code, right), written=False)
        may = self.bearer.has(type_, "s") and self.bearer.has(type_, "c")
        right = 403 if not may else 200 if self.bearer.lets(each, "s") else right
        answer = self.call("POST", type_, new, If_None_Exist=f"_id={each['id']}").status_code
        self.judge("POST if none", (each,), (answer, right), written=False)

    # --- in Bundles ------------------------------------------------------------------------

    def in_bundles(self, each: Row, beside: Row) -> None:
        right = self.reached(each, "u")
        entries = [
            {"resource": noted(one, "changed"), "request": {"method": "PUT", "url": name(one)}}
            for one in (each, beside)
        ]
        batch = self.call("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": entries[:1]})
        status = int(json.loads(batch.text)["entry"][0]["response"]["status"][:3])
        self.judge("batch", (each,), (status, right), written=right == 200)
        both = [right, self.reached(beside, "u")]
        whole = self.call("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
        first = next((one for one in both if one != 200), 200)
        self.judge("transaction", (each, beside), (whole.status_code, first), written=first == 200)


@pytest.fixture(scope="module")
def door(tmp_path_factory, migrated_file) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("writes")
    shutil.copy(migrated_file, folder / migrated_file.name)
    app = create_app(Settings(data_dir=folder, secret_key=KEY, public_url=BASE))
    fill(app.extensions["fhir-bridge"].of_all(), (*ROWS, *DOCUMENTS))
    yield Door(app)
    app.extensions["fhir-bridge"].store.close()


@pytest.mark.parametrize("bearer", BEARERS, ids=str)
def test_what_is_out_of_reach_is_not_written(door, bearer):
    hand = Hand(door, bearer, door.token(bearer))
    for each, beside in zip(PLAIN, (*PLAIN[1:], PLAIN[0]), strict=True):
        hand.by_id(each)
        hand.moved(each)
        hand.by_condition(each)
        hand.created(each)
        hand.in_bundles(each, beside)
    assert not hand.wrong, "\n".join(hand.wrong[:30])
    assert hand.cells > 310, hand.cells
