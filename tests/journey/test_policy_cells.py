"""The matrix: interaction x scope x level x tenant x path to the same row, each cell judged by a model of its own.

A cell is one row looked for on one path by one token: it is found when its scopes say so,
and otherwise nothing tells that it is there. The model reads the JSON of the rows
(policy_rows.py); of the bridge's policy it knows nothing.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest
from policy_rows import (
    BASE,
    BEARERS,
    FOREIGN,
    OURS,
    ROWS,
    TYPES,
    Bearer,
    Door,
    Row,
    fill,
    given,
    name,
    patient_of,
)

from fhir_bridge.app import create_app
from fhir_bridge.settings import Settings
from fhir_bridge.worker.errands import Errands
from fhir_bridge.worker.rooms import Rooms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient

JSON: Final = {"Content-Type": "application/fhir+json"}
FORM: Final = "application/x-www-form-urlencoded"
NAMES: Final = tuple(map(name, ROWS))
BY_NAME: Final = {name(each): each for each in ROWS}
TEST_KEY: Final = "a key for tests only"  # that of the migrated file
BINARIES: Final = {f"of-{each.replace('/', '-')}": each for each in NAMES}
CLIENTS: Final = {"default": "ehr", "elsewhere": "ehr-elsewhere", "empty": "ehr-empty"}


def refers(each: Row) -> set[str]:
    """The rows that a row refers to."""
    named = [each.get(element, {}) for element in ("subject", "for", "encounter")] + each.get("target", [])
    found = {one.get("reference", "").removeprefix(f"{BASE}/fhir/") for one in named}
    return found & set(NAMES)


def in_visit(visit: str) -> set[str]:
    return {visit} | {each for each in NAMES if BY_NAME[each].get("encounter", {}).get("reference") == visit}


def of_patient(patient: str) -> set[str]:
    return {each for each in NAMES if patient in patient_of(BY_NAME[each])}


def told(bundle: Row, *modes: str) -> list[str]:
    """The rows of a Bundle, as often as they are there."""
    entries = bundle.get("entry", [])
    chosen = [each for each in entries if not modes or each.get("search", {}).get("mode") in modes]
    return [name(each["resource"]) for each in chosen if "resource" in each]


@dataclass
class Look:
    """One token looking at all rows by all ways, and what it should see."""

    http: FlaskClient
    bearer: Bearer
    tenant: str
    token: str
    cells: int = 0
    leaks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.there = set() if self.tenant == "empty" else set(NAMES)
        self.reads, self.finds = (self.bearer.reaches(right) & self.there for right in "rs")
        self.sees = self.reads | self.finds
        self.foreign = {"default": FOREIGN, "elsewhere": OURS, "empty": "of the"}[self.tenant]

    def cell(self, path: str, of: str, found: object, right: object) -> None:
        self.cells += 1
        if found != right:
            self.leaks.append(f"{self.bearer} in {self.tenant}: {path}, {of}: {found}, not {right}")

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        sent = {"Authorization": f"Bearer {self.token}"} | {at.replace("_", "-"): each for at, each in headers.items()}
        if body is not None and not isinstance(body, str):
            body, sent = json.dumps(body), JSON | sent
        answer = self.http.open(f"/fhir/{path}".rstrip("/"), method=method, data=body, headers=sent)
        self.cell(f"{method} {path}", "the other tenant", self.foreign in answer.text, right=False)
        return answer

    def bundle(self, path: str) -> tuple[int, Row]:
        answer = self.call("GET", path)
        return answer.status_code, json.loads(answer.text)

    def refusal(self, type_: str, right: str) -> int:
        return 404 if self.bearer.has(type_, right) else 403

    def listed(self, path: str, found: tuple[int, Row], right: set[str], among: set[str], *, may: bool) -> None:
        """A cell for each row that might be on a list, one for its status and one for its total."""
        status, bundle = found
        self.cell(path, "status", status, 200 if may else 403)
        shown = told(bundle, "match") if status == 200 else []
        for each in among:
            self.cell(path, each, shown.count(each), int(each in right and may))
        if status == 200:
            self.cell(path, "total", bundle["total"], len(right))

    # --- ways to one row -------------------------------------------------------------------

    def one_by_one(self) -> None:
        for each in (*NAMES, "Patient/nobody"):
            type_ = each.partition("/")[0]
            right = 200 if each in self.reads else self.refusal(type_, "r")
            for path in (each, f"{each}/_history/1", f"{each}/_history", f"{each}?_elements=id"):
                self.cell("GET", path, self.call("GET", path).status_code, right)
            self.cell("HEAD", each, self.call("HEAD", each).status_code, right)
            known = self.call("GET", each, If_None_Match='W/"1"').status_code
            self.cell("If-None-Match", each, known, 304 if right == 200 else right)
            removal = self.call("POST", f"{each}/$validate?mode=delete", "", Content_Type="application/fhir+json")
            deletes = each in self.bearer.reaches("d") & self.there
            self.cell("$validate", each, removal.status_code, 200 if deletes else self.refusal(type_, "d"))

    def everything(self) -> None:
        for main, inside in (("Encounter/e1", in_visit("Encounter/e1")), ("Patient/p1", of_patient("Patient/p1"))):
            path = f"{main}/$everything"
            status, bundle = self.bundle(path)
            right = 200 if main in self.reads else self.refusal(main.partition("/")[0], "r")
            self.cell(path, "status", status, right)
            found = told(bundle) if status == 200 else []
            for each in NAMES:
                self.cell(path, each, each in found and each not in self.sees, right=False)
                if status == 200 and each in inside & self.reads:
                    self.cell(path, f"all of {each}", each in found, right=True)

    def binaries(self) -> None:
        """Bytes take the right to read Binaries, and what they belong to; at patient level the latter says which."""
        mine = [each for each in self.bearer.scopes if each.type in {"*", "Binary"} and "r" in each.rights]
        may = self.there and any(not each.query and self._is_met(each.level) for each in mine)
        by_context = any(not each.query and each.level == "patient" for each in mine)
        for binary, context in BINARIES.items():
            type_ = context.partition("/")[0]
            right = 403 if not mine else 404 if not may else 200 if context in self.reads else self.refusal(type_, "r")
            current = 200 if by_context and context in self.reads else right
            for kind in ("text/plain", "application/fhir+json"):
                answer = self.call("GET", f"Binary/{binary}", Accept=kind)
                self.cell("Binary", f"{binary} as {kind}", answer.status_code, current)
            past = self.call("GET", f"Binary/{binary}/_history/1", Accept="*/*")
            self.cell("Binary", f"{binary}, its first version", past.status_code, right)

    def _is_met(self, level: str) -> bool:
        return level == "system" or (level == "user" and bool(self.bearer.user))

    # --- ways to many ----------------------------------------------------------------------

    def lists_of_types(self) -> None:
        for type_ in TYPES:
            among = {each for each in NAMES if each.startswith(f"{type_}/")}
            right, may = self.finds & among, self.bearer.has(type_, "s")
            ids = ",".join(each.partition("/")[2] for each in among)
            for path in (
                type_,
                f"{type_}?_id={ids}",
                f"?_type={type_}",
                f"{type_}?_sort=_lastUpdated",
                f"{type_}?_tag=note",
            ):
                self.listed(path, self.bundle(path), right, among, may=may)
            posted = self.call("POST", f"{type_}/_search", f"_id={ids}", Content_Type=FORM)
            found = posted.status_code, json.loads(posted.text)
            self.listed(f"POST {type_}/_search", found, right, among, may=may)
            counted = self.bundle(f"{type_}?_summary=count")
            self.cell(f"{type_}?_summary=count", "total", counted[1].get("total"), len(right) if may else None)
            for path in (f"{type_}/_history", f"_history?_type={type_}"):
                status, bundle = self.bundle(path)
                self.cell(path, "status", status, 200 if may else 403)
                shown = told(bundle) if status == 200 else []
                for each in among:
                    self.cell(path, each, each in shown, each in right)
            self.listed_by_page(type_, right, may=may)

    def listed_by_page(self, type_: str, right: set[str], *, may: bool) -> None:
        found, path = [], f"{type_}?_count=1"
        while path and may:
            bundle = self.bundle(path)[1]
            found += told(bundle, "match")
            following = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
            path = following.removeprefix(f"{BASE}/fhir/")
        self.cell(f"{type_} by pages", type_, sorted(found), sorted(right) if may else [])

    def lists_of_all(self) -> None:
        may, all_ = any(self.bearer.has(type_, "s") for type_ in TYPES), set(NAMES)
        path = f"?_type={','.join(TYPES)}"
        self.listed(path, self.bundle(path), self.finds, all_, may=may)
        for compartment, inside in (
            *((each, of_patient(each)) for each in ("Patient/p1", "Patient/p2")),
            *((each, in_visit(each)) for each in ("Encounter/e1", "Encounter/e2")),
        ):
            types = {each.partition("/")[0] for each in NAMES} - {"Practitioner"}
            types -= {"Patient", "Provenance"} if compartment.startswith("Encounter") else set()
            types |= {"Composition"}
            may = any(self.bearer.has(type_, "s") for type_ in types)
            self.listed(f"{compartment}/*", self.bundle(f"{compartment}/*"), self.finds & inside, all_, may=may)
            observations = {each for each in inside if each.startswith("Observation/")}
            path = f"{compartment}/Observation"
            self.listed(
                path, self.bundle(path), self.finds & observations, all_, may=self.bearer.has("Observation", "s")
            )

    def beside(self) -> None:
        """Includes, both ways: what may be seen of what matches refer to, and of what refers to them."""
        for type_, forth, back in (
            ("Observation", ("encounter", "subject"), ("Provenance:target",)),
            ("Encounter", ("subject",), ("Observation:encounter", "Media:encounter", "Task:encounter")),
            (
                "Patient",
                (),
                ("Encounter:patient", "Observation:subject", "Media:patient", "Task:patient", "Provenance:target"),
            ),
            ("Provenance", ("target",), ()),
        ):
            path = f"{type_}?" + "&".join(
                [*(f"_include={type_}:{each}" for each in forth), *(f"_revinclude={each}" for each in back)]
            )
            status, bundle = self.bundle(path)
            matches = {each for each in self.finds if each.startswith(f"{type_}/")}
            sources = {each.partition(":")[0] for each in back}
            near = {other for each in matches if forth for other in refers(BY_NAME[each])}
            near |= {each for each in NAMES if each.partition("/")[0] in sources and refers(BY_NAME[each]) & matches}
            self.cell(path, "status", status, 200 if self.bearer.has(type_, "s") else 403)
            shown = told(bundle, "include") if status == 200 else []
            for each in NAMES:
                self.cell(path, each, shown.count(each), int(each in (near & self.sees) - matches))

    def through_others(self) -> None:
        """A chain looks only at what may be searched."""
        males = {"Patient/p1"} & self.finds
        finished = {"Encounter/e1", "Encounter/e3"} & self.finds
        final = {"Observation/o1", "Observation/o2"} & self.finds
        of_males = {each for each in NAMES if refers(BY_NAME[each]) & males}
        of_finished = {each for each in NAMES if refers(BY_NAME[each]) & finished}
        with_final = {other for each in final for other in refers(BY_NAME[each])}
        for path, other, right in (
            ("Observation?subject:Patient.gender=male", "Patient", of_males),
            ("Observation?encounter.status=finished", "Encounter", of_finished),
            ("Patient?_has:Observation:patient:status=final", "Observation", with_final),
            ("Encounter?_has:Observation:encounter:status=final", "Observation", with_final),
        ):
            type_ = path.partition("?")[0]
            mine = {each for each in right & self.finds if each.startswith(f"{type_}/")}
            may = self.bearer.has(type_, "s") and self.bearer.has(other, "s")
            among = {each for each in NAMES if each.startswith(f"{type_}/")}
            self.listed(path, self.bundle(path), mine, among, may=may)

    def in_bundles(self) -> None:
        asked = [{"request": {"method": "GET", "url": each}} for each in NAMES]
        asked += [{"request": {"method": "GET", "url": type_}} for type_ in TYPES]
        batch = self.call("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": asked})
        answers = json.loads(batch.text)["entry"]
        for each, answer in zip(NAMES, answers, strict=False):
            right = 200 if each in self.reads else self.refusal(each.partition("/")[0], "r")
            self.cell("batch", each, int(answer["response"]["status"][:3]), right)
            self.cell("batch", f"{each} with its content", "resource" in answer, right == 200)
        for type_, answer in zip(TYPES, answers[len(NAMES) :], strict=True):
            may = self.bearer.has(type_, "s")
            among = {each for each in NAMES if each.startswith(f"{type_}/")}
            found = int(answer["response"]["status"][:3]), answer.get("resource", {})
            self.listed(f"batch, {type_}", found, self.finds & among, among, may=may)
            reads = [{"request": {"method": "GET", "url": each}} for each in sorted(among)]
            whole = self.call("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": reads})
            right = 200 if among <= self.reads else self.refusal(type_, "r")
            self.cell("transaction", type_, whole.status_code, right)

    def later(self, errands: Errands) -> None:
        """Answers that are fetched later: a search, and exports."""
        finds = any(self.bearer.has(type_, "s") for type_ in TYPES)
        exports = any(self.bearer.has(type_, "r") and self.bearer.has(type_, "s") for type_ in TYPES)
        both = self.reads & self.finds
        path = f"?_type={','.join(TYPES)}"
        place = self._place(self.call("GET", path, Prefer="respond-async"))
        if place:
            errands.round()
            entry = json.loads(self.call("GET", place).text)["entry"][0]
            status, found = int(entry["response"]["status"][:3]), entry.get("resource", {})
            self.listed(f"{path} later", (status, found), self.finds, set(NAMES), may=finds)
        ours = {each for each in NAMES if not each.startswith("Practitioner/") and patient_of(BY_NAME[each])}
        ours |= {"Provenance/v1"}
        for path, right in (("$export", both), ("Patient/$export", both & ours)):
            place = self._place(self.call("GET", path, Prefer="respond-async"))
            self.cell(path, "accepted", bool(place), exports)
            found = self._exported(place, errands) if place else []
            for each in NAMES:
                self.cell(path, each, found.count(each), int(each in right))

    def _place(self, answer: Any) -> str:
        return answer.headers.get("Content-Location", "").removeprefix(f"{BASE}/fhir/")

    def _exported(self, place: str, errands: Errands) -> list[str]:
        errands.round()
        files = json.loads(self.call("GET", place).text)["output"]
        texts = [self.call("GET", file["url"].removeprefix(f"{BASE}/fhir/")).text for file in files]
        return [name(json.loads(line)) for text in texts for line in text.splitlines()]


@pytest.fixture(scope="module")
def door(tmp_path_factory, migrated_file) -> Iterator[tuple[Door, Errands]]:
    """The application with the rows in it, which no cell changes, and a worker for what is asked for later."""
    folder = tmp_path_factory.mktemp("cells")
    shutil.copy(migrated_file, folder / migrated_file.name)
    settings = Settings(data_dir=folder, secret_key=TEST_KEY, public_url=BASE)
    app = create_app(settings)
    fill(app.extensions["fhir-bridge"].of_all())
    made = Door(app)
    for tenant, note in (("default", OURS), ("elsewhere", FOREIGN)):
        token = made.token(given("system/*.cruds"), tenant=tenant, client=CLIENTS[tenant])
        for binary, context in BINARIES.items():
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain", "X-Security-Context": context}
            answer = app.test_client().put(f"/fhir/Binary/{binary}", data=note, headers=headers)
            assert answer.status_code == 201, answer.text
    rooms = Rooms.open(settings, boot="boot-1")
    yield made, Errands(rooms, stopping=lambda: False)
    rooms.close()
    app.extensions["fhir-bridge"].store.close()


WHO: Final = {"default": BEARERS, "elsewhere": BEARERS[::2], "empty": BEARERS[:2]}
LOOKS: Final = tuple((each, tenant) for tenant, bearers in WHO.items() for each in bearers)
LEAST: Final = 800


def test_the_matrix_has_more_than_five_thousand_cells():
    assert len(LOOKS) * LEAST > 5_000


@pytest.mark.parametrize(("bearer", "tenant"), LOOKS, ids=[f"{tenant}: {each}" for each, tenant in LOOKS])
def test_no_path_to_a_row_leaks_it(door, bearer, tenant):
    made, errands = door
    token = made.token(bearer, tenant=tenant, client=CLIENTS[tenant])
    look = Look(made.app.test_client(), bearer, tenant, token)

    for ways in (
        look.one_by_one,
        look.everything,
        look.binaries,
        look.lists_of_types,
        look.lists_of_all,
        look.beside,
        look.through_others,
        look.in_bundles,
    ):
        ways()
    look.later(errands)

    assert not look.leaks, "\n".join(look.leaks[:40])
    assert look.cells > LEAST, look.cells
