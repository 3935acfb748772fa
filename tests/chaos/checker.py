"""An EHR that counts, in a process of its own: it shares no code with the bridge and believes only what it reads.

Each request is in a journal on disk before it is sent. What was answered with 2xx has to be there, once, with every
word and every fact in its place. Reads commands as JSON lines on stdin, answers each with one JSON line.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import requests

FACT_EVERY = 40
THREADS = 8
CANARY = "Quorvenzia Threlkadottir"
LONG = 150.0  # seconds in which nothing at all ends, though much is waiting: stuck
LONGEST_INLINE = 4 * 1024 * 1024  # bytes
DONE = {"completed", "stopped", "erased"}


@dataclass
class Visit:
    """One Encounter and one recording of the numbers first to first + count - 1."""

    name: str
    first: int
    count: int
    expect: str = "completed"
    patient: str | None = None  # known to the EHR alone; whose visits are erased together
    encounter: str | None = None
    media: str | None = None
    status: str | None = None
    seen: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[int]:
        return list(range(self.first, self.first + self.count))

    @property
    def facts(self) -> list[str]:
        return sorted(f"Number {word}" for word in self.words if word % FACT_EVERY == 0)


class Ehr:
    """Sends until it is answered, as often as that takes, the same each time."""

    def __init__(self, told: dict) -> None:
        self.base, self.login = told["base"], {"client_id": told["client"], "client_secret": told["secret"]}
        self.journal = os.open(told["journal"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.local = threading.local()
        self.lock = threading.Lock()
        self.token, self.until = "", 0.0
        self.statuses: Counter[int] = Counter()
        self.leaked: list[str] = []

    def note(self, **entry) -> None:
        with self.lock:
            os.write(self.journal, (json.dumps(entry) + "\n").encode())
            os.fsync(self.journal)

    @property
    def http(self) -> requests.Session:
        if not hasattr(self.local, "session"):
            self.local.session = requests.Session()
            self.local.session.trust_env = False
        return self.local.session

    def bearer(self) -> str:
        with self.lock:
            if time.monotonic() > self.until:
                form = {"grant_type": "client_credentials", "scope": "system/*.cruds", **self.login}
                answer = self.http.post(f"{self.base}/oauth/token", data=form, timeout=30)
                if answer.status_code == 200:
                    self.token, self.until = answer.json()["access_token"], time.monotonic() + 120
            return self.token

    def once(self, method: str, path: str, body=None, **headers) -> requests.Response | None:
        """Ask once; None: nobody knows what came of it."""
        try:
            headers |= {"Authorization": f"Bearer {self.bearer()}"}
            answer = self.http.request(method, f"{self.base}/fhir/{path}", data=body, headers=headers, timeout=60)
        except requests.RequestException:
            return None
        self.statuses[answer.status_code] += 1
        if answer.status_code == 401:
            self.until = 0.0
        if answer.status_code >= 400 and CANARY in answer.text:
            self.leaked.append(f"{method} {path.partition('?')[0]} {answer.status_code}")
        return answer

    def surely(
        self, method: str, path: str, resource=None, *, raw: bytes | None = None, tries: int = 400, **headers
    ) -> requests.Response:
        """Ask until somebody answers other than 'later'; the request is on disk before it is sent."""
        body = raw if resource is None else json.dumps(resource).encode()
        if resource is not None:
            headers["Content-Type"] = "application/fhir+json"
            self.note(method=method, path=path, name=resource.get("identifier", [{}])[0].get("value"))
        for _ in range(tries):
            answer = self.once(method, path, body, **headers)
            if answer is not None and answer.status_code not in {401, 408, 425, 429, 500, 502, 503, 504, 507}:
                if resource is not None:
                    self.note(status=answer.status_code, location=answer.headers.get("Location"))
                return answer
            time.sleep(0.1)
        raise RuntimeError(f"{method} {path.partition('?')[0]}: no answer in {tries} tries")


class Checker:
    """What was sent, what was answered, and what is there."""

    def __init__(self, told: dict) -> None:
        self.ehr = Ehr(told)
        self.visits: list[Visit] = []
        self.pool = ThreadPoolExecutor(THREADS)
        self.pace = threading.Lock()
        self.sending: list = []
        self.checked: set[str] = set()
        self.sounds: dict[str, bytes] = {}

    # --- sending ---

    def send(self, told: dict) -> dict:
        """Post visits in the background, their recordings before them; the answer does not wait for any."""
        contents = [self.pool.submit(self._content, told["sound"]) for _ in range(told["count"])]
        for n, content in enumerate(contents):
            name = f"{told['name']}-{n}"
            visit = Visit(name, told["first"], told["length"], told.get("expect", "completed"))
            visit.patient = told["name"] if visit.expect == "erased" else None
            self.visits.append(visit)
            self.sending.append(self.pool.submit(self._send, visit, content, told["every"]))
        return {"sent": told["count"]}

    def _send(self, visit: Visit, content: Future[dict[str, str]], every: float) -> None:
        with self.pace:
            time.sleep(every)
        encounter = {
            "resourceType": "Encounter",
            "identifier": [{"system": "urn:chaos:visit", "value": visit.name}],
            "status": "in-progress",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "subject": {"display": CANARY} | ({"reference": f"Patient/{visit.patient}"} if visit.patient else {}),
        }
        visit.encounter = self._created("Encounter", encounter)
        media = {
            "resourceType": "Media",
            "identifier": [{"system": "urn:chaos:media", "value": visit.name}],
            "status": "completed",
            "encounter": {"reference": f"Encounter/{visit.encounter}"},
            "content": {"contentType": "audio/wav", **content.result()},
        }
        visit.media = self._created("Media", media)

    def _content(self, sound: str) -> dict[str, str]:
        """What is long is a Binary of its own."""
        if sound not in self.sounds:
            self.sounds[sound] = Path(sound).read_bytes()
        raw = self.sounds[sound]
        if len(raw) <= LONGEST_INLINE:
            return {"data": base64.b64encode(raw).decode()}
        return {"url": f"Binary/{self._created('Binary', raw=raw, **{'Content-Type': 'audio/wav'})}"}

    def _created(self, type_: str, resource: dict | None = None, **how) -> str:
        answer = self.ehr.surely("POST", type_, resource, **how)
        if answer.status_code not in {200, 201}:
            raise RuntimeError(f"POST {type_}: {answer.status_code} {answer.text[:300]}")
        return answer.headers["Location"].split(f"/{type_}/")[1].split("/")[0]

    # --- waiting ---

    def sent(self, _told: dict) -> dict:
        """Wait until all was accepted."""
        for each in self.sending:
            each.result(timeout=600)
        self.sending.clear()
        return {}

    def wait(self, told: dict) -> dict:
        """Wait until all that was sent has ended, or so many have; stuck: nothing ends any more."""
        self.sent(told)
        moved = time.monotonic()
        while waiting := [one for one in self.visits if one.status not in DONE]:
            ended = self._look(waiting)
            if ended:
                moved = time.monotonic()
            elif time.monotonic() - moved > told.get("patience", LONG):
                break
            time.sleep(0.25)
        return {"waiting": len(waiting)}

    def progress(self, _told: dict) -> dict:
        """Look once; how many have been sent, accepted, ended."""
        self._look([one for one in self.visits if one.media and one.status not in DONE])
        return {
            "sent": len(self.visits),
            "accepted": sum(one.media is not None for one in self.visits),
            "ended": sum(one.status in DONE for one in self.visits),
        }

    def _look(self, waiting: list[Visit]) -> int:
        ended = 0
        for at in range(0, len(waiting), 40):
            some = {one.media: one for one in waiting[at : at + 40]}
            answer = self.ehr.surely("GET", f"Media?_count=100&_elements=status&_id={','.join(some)}")
            for entry in answer.json().get("entry", []):
                visit = some.get(entry["resource"].get("id"))
                if visit is not None:
                    visit.status = entry["resource"]["status"]
                    ended += visit.status in DONE
        return ended

    # --- judging ---

    def judge(self, told: dict) -> dict:
        """Read everything as an EHR would, and count: lost, doubled, stuck, leaked."""
        found = Counter(lost=0, doubled=0, stuck=0, leaked=0)
        details: list[str] = []
        new = [one for one in self.visits if one.name not in self.checked]

        def odd(kind: str, visit: Visit, what: str) -> None:
            found[kind] += 1
            details.append(f"{kind}: {visit.name}: {what}")

        for visit, problems in zip(new, self.pool.map(self._problems, new), strict=True):
            for kind, what in problems:
                odd(kind, visit, what)
            self.checked.add(visit.name)
        self._interactions(told["corti"], odd)
        for where in self.ehr.leaked:
            found["leaked"] += 1
            details.append(f"leaked: {where}")
        words = sum(one.count for one in new if one.expect == "completed")
        return {**found, "visits": len(new), "words": words, "details": details[:20]}

    def _problems(self, visit: Visit) -> list[tuple[str, str]]:
        if visit.expect == "erased":
            return list(self._remains(visit))
        problems = []
        for type_, system in (("Encounter", "urn:chaos:visit"), ("Media", "urn:chaos:media")):
            total = self._total(f"{type_}?identifier={system}|{visit.name}")
            if total != 1:
                problems.append(("lost" if total < 1 else "doubled", f"{total} {type_} (L1)"))
        tasks = self._total(f"Task?focus=Media/{visit.media}")
        if tasks != 1:
            problems.append(("lost" if tasks < 1 else "doubled", f"{tasks} Task (L1)"))
        if visit.status not in DONE:
            return [*problems, ("stuck", f"Media is {visit.status} (L6)")]
        if visit.expect == "any":
            return problems
        wanted = "completed" if visit.expect == "completed" else "stopped"
        if visit.status != wanted:
            return [*problems, ("lost", f"Media is {visit.status}, not {wanted}")]
        return problems + (list(self._results(visit)) if wanted == "completed" else [])

    def _remains(self, visit: Visit):
        """What is left of a visit that was erased, once the erasure says that it has ended."""
        until = time.monotonic() + LONG
        while (state := self._erasure(visit)) != "erased" and time.monotonic() < until:
            time.sleep(0.5)
        if state != "erased":
            yield ("stuck", f"the erasure is {state}")
        for place in (f"Encounter/{visit.encounter}", f"Media/{visit.media}", f"Media/{visit.media}/_history/1"):
            answer = self.ehr.surely("GET", place)
            if answer.status_code != 410:
                yield ("leaked", f"{place.partition('/')[0]} answers {answer.status_code} after it was erased")
        for type_ in ("Task", "Observation", "DocumentReference", "Media"):
            if n := self._total(f"{type_}?encounter=Encounter/{visit.encounter}"):
                yield ("leaked", f"{n} {type_} after the visit was erased")

    def _results(self, visit: Visit):
        documents = self._found(f"DocumentReference?encounter=Encounter/{visit.encounter}")
        if len(documents) != 1:
            yield ("lost" if not documents else "doubled", f"{len(documents)} transcripts (L2)")
            return
        heard = self._words(documents[0])
        yield from _counted(visit.words, heard, "word (L2)")
        if heard != visit.words and Counter(heard) == Counter(visit.words):
            yield ("lost", "words out of order (L2)")
        told = self._found(f"Observation?encounter=Encounter/{visit.encounter}&_count=200")
        facts = [one["valueString"] for one in told if one["status"] != "entered-in-error"]
        yield from _counted(visit.facts, facts, "fact (L3)")
        ids = [one["value"] for each in told for one in each.get("identifier", [])]
        yield from (("doubled", f"fact id {one} (L3)") for one, n in Counter(ids).items() if n > 1)
        visit.seen = {f"{one['resourceType']}/{one['id']}": one["meta"]["versionId"] for one in (*documents, *told)}

    def _words(self, document: dict) -> list[int]:
        for content in document["content"]:
            attachment = content["attachment"]
            if attachment.get("contentType", "").startswith("application/json"):
                if "data" in attachment:
                    text = base64.b64decode(attachment["data"])
                else:
                    text = self.ehr.surely(
                        "GET", attachment["url"].rpartition("/fhir/")[2] or attachment["url"]
                    ).content
                return [int(word) for segment in json.loads(text) for word in segment["text"].split()]
        raise RuntimeError(f"no JSON in {[one['attachment'].get('contentType') for one in document['content']]}")

    def _interactions(self, corti: str, odd) -> None:
        """One live interaction for each Encounter (L4): Corti's own list, as its customer sees it."""
        http = requests.Session()
        http.trust_env = False
        form = {"grant_type": "client_credentials", **self.corti_login}
        token = http.post(f"{corti}/realms/base/protocol/openid-connect/token", data=form, timeout=30).json()
        headers = {"Authorization": f"Bearer {token['access_token']}", "Tenant-Name": "base"}
        counted: Counter[str] = Counter()
        for page in range(1, 10_000):
            url = f"{corti}/v2/interactions/?index={page}&pageSize=100"
            listed = http.get(url, headers=headers, timeout=30).json()["interactions"]
            if not listed:
                break
            counted.update(one["encounter"]["identifier"].rpartition("~")[0] for one in listed)
        for visit in self.visits:
            n = counted[visit.name]
            if n and visit.expect == "erased":
                odd("leaked", visit, f"{n} interactions after the visit was erased")
            elif n > 1 or (n == 0 and visit.status == "completed"):
                odd("doubled" if n > 1 else "lost", visit, f"{n} interactions (L4)")

    def calm(self, _told: dict) -> dict:
        """Nothing is written after its end (L5): every result still has the version that was read."""
        changed = []
        for visit in self.visits:
            for reference, version in visit.seen.items():
                answer = self.ehr.surely("GET", reference)
                if answer.json()["meta"]["versionId"] != version:
                    changed.append(reference)
        return {"changed": changed[:20]}

    def operate(self, told: dict) -> dict:
        """Media/$cancel or $retry of every visit whose name begins so."""
        answers: Counter[int] = Counter()
        for visit in self.visits:
            if visit.name.startswith(told["name"]) and visit.media and told.get("only", visit.status) == visit.status:
                answers[self.ehr.surely("POST", f"Media/{visit.media}/{told['operation']}").status_code] += 1
                if told["operation"] == "$retry":
                    visit.status, visit.expect = None, "completed"
        return {"answers": {str(status): n for status, n in answers.items()}}

    def erase(self, told: dict) -> dict:
        """Erase the patient whose visits' names begin so, however far these are; asked for again, it is the same."""
        for each in self.sending:
            each.result(timeout=300)
        for visit in self.visits:
            if visit.name.startswith(told["name"]):
                visit.status = "erased"
                self._erasure(visit)
        return {}

    def _erasure(self, visit: Visit) -> str:
        answer = self.ehr.surely("POST", f"Patient/{visit.patient}/$erase")
        parts = answer.json().get("parameter", []) if answer.status_code == 200 else []
        return next((one["valueCode"] for one in parts if one["name"] == "state"), str(answer.status_code))

    def change(self, told: dict) -> dict:
        """Write another version of every Encounter whose visit's name begins so."""
        for visit in self.visits:
            if visit.name.startswith(told["name"]) and visit.encounter:
                resource = self.ehr.surely("GET", f"Encounter/{visit.encounter}").json()
                resource["status"] = "onleave" if resource["status"] == "in-progress" else "in-progress"
                self.ehr.surely("PUT", f"Encounter/{visit.encounter}", resource)
        return {}

    def upload(self, told: dict) -> dict:
        """Upload a Binary in parts, going on wherever the bridge says it is, until it is there."""
        content = Path(told["sound"]).read_bytes() * told.get("times", 1)
        tus = {"Tus-Resumable": "1.0.0"}
        for _ in range(100):
            begun = self.ehr.once("POST", "Binary", None, **tus, **{"Upload-Length": str(len(content))})
            if begun is not None and begun.status_code == 201:
                break
            time.sleep(0.1)
        path = begun.headers["Location"].rpartition("/fhir/")[2]
        for _ in range(200):
            at = self.ehr.once("HEAD", path, None, **tus)
            if at is None or "Upload-Offset" not in at.headers:
                time.sleep(0.1)
                continue
            offset = int(at.headers["Upload-Offset"])
            if offset == len(content):
                read = self.ehr.surely("GET", path, Accept="*/*").content
                return {"same": read == content}
            headers = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
            self.ehr.once("PATCH", path, content[offset:], **tus, **headers)
        return {"same": False}

    def errand(self, _told: dict) -> dict:
        """Ask for a search to be fetched later, and fetch it."""
        begun = self.ehr.surely("GET", "Patient?_count=1", Prefer="respond-async")
        if begun.status_code != 202:
            return {"status": begun.status_code}
        path = begun.headers["Content-Location"].rpartition("/fhir/")[2]
        for _ in range(300):
            answer = self.ehr.surely("GET", path)
            if answer.status_code != 202:
                return {"status": answer.status_code}
            time.sleep(0.1)
        return {"status": 0}

    def race(self, told: dict) -> dict:
        """Threads that create the same identifiers under a condition: each identifier exists once."""
        names = [f"{told['name']}-{n % told['identifiers']}" for n in range(told["creates"])]
        start = threading.Barrier(told["threads"])

        def create(mine: list[str]) -> None:
            start.wait(60)
            for name in mine:
                resource = {"resourceType": "Patient", "identifier": [{"system": "urn:chaos:mrn", "value": name}]}
                self.ehr.surely("POST", "Patient", resource, **{"If-None-Exist": f"identifier=urn:chaos:mrn|{name}"})

        with ThreadPoolExecutor(told["threads"]) as pool:
            shares = [names[n :: told["threads"]] for n in range(told["threads"])]
            list(pool.map(create, shares))
        totals = [self._total(f"Patient?identifier=urn:chaos:mrn|{name}") for name in dict.fromkeys(names)]
        return {"exist": sum(totals), "doubled": sum(n > 1 for n in totals), "lost": sum(n < 1 for n in totals)}

    def statuses(self, _told: dict) -> dict:
        return {"statuses": {str(status): n for status, n in sorted(self.ehr.statuses.items())}}

    def login(self, told: dict) -> dict:
        self.corti_login = told["corti_login"]
        return {}

    def _total(self, query: str) -> int:
        return int(self.ehr.surely("GET", f"{query}&_total=accurate&_count=5").json()["total"])

    def _found(self, query: str) -> list[dict]:
        entries = self.ehr.surely("GET", query).json().get("entry", [])
        return [one["resource"] for one in entries if one.get("search", {}).get("mode", "match") == "match"]


def _counted(wanted: list, found: list, what: str):
    """What is not there, and what is there too often."""
    here, there = Counter(found), Counter(wanted)
    for one in sorted((there - here).elements())[:5]:
        yield ("lost", f"{what} {one}")
    for one in sorted((here - there).elements())[:5]:
        yield ("doubled", f"{what} {one}")


def main() -> None:
    checker = Checker(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        told = json.loads(line)
        try:
            answer = getattr(checker, told["do"])(told)
        except Exception as error:  # noqa: BLE001 - told to the runner
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
