// fhir-kit-client, unmodified, on a whole journey: what the CapabilityStatement declares is done, all of it works.
//
// Environment: FHIR_BASE, ACCESS_TOKEN, AUDIO (a WAV file). Prints one JSON object with what was seen.
import assert from "node:assert/strict";
import { CapabilityTool, Client } from "fhir-kit-client";
import { ACCESS_TOKEN, FHIR_BASE, URN, audio, declarations, encounter, media, patient } from "./journey.mjs";

const client = new Client({ baseUrl: FHIR_BASE });

async function discovers() {
    const { tokenUrl } = await client.smartAuthMetadata();
    assert.equal(String(tokenUrl), FHIR_BASE.replace(/\/fhir$/, "/oauth/token"));
    const statement = await client.capabilityStatement();
    assert.ok(new CapabilityTool(statement).resourceCan("Encounter", "create"));
    return declarations(statement);
}

async function isRefusedWithoutAToken() {
    await assert.rejects(client.read({ resourceType: "Patient", id: "x" }), ({ response }) => {
        assert.equal(response.status, 401);
        assert.equal(response.data.resourceType, "OperationOutcome");
        return true;
    });
}

async function creates() {
    const made = await client.create({ resourceType: "Patient", body: patient("0") });
    assert.equal(Client.httpFor(made).response.status, 201);
    assert.deepEqual(await client.read({ resourceType: "Patient", id: made.id }), made);
    return made;
}

async function records(subject) {
    const visit = await client.create({ resourceType: "Encounter", body: encounter(subject.id, "visit") });
    const content = { contentType: "audio/wav", data: audio().toString("base64") };
    const recording = await client.create({ resourceType: "Media", body: media(visit.id, content) });
    assert.equal((await client.resolve({ reference: recording.content.url })).resourceType, "Binary");
    const told = await client.operation({
        name: "everything",
        resourceType: "Encounter",
        id: visit.id,
        method: "GET",
    });
    return told.entry.map((entry) => entry.resource.resourceType);
}

async function updates(made) {
    const body = { ...made, active: true };
    const updated = await client.update({ resourceType: "Patient", id: made.id, body });
    assert.equal(updated.meta.versionId, "2");
    const options = { headers: { "If-Match": 'W/"1"' } };
    const stale = client.update({ resourceType: "Patient", id: made.id, body, options });
    await assert.rejects(stale, (error) => error.response.status === 412);
}

async function pages() {
    for (let n = 1; n <= 4; n += 1) await client.create({ resourceType: "Patient", body: patient(String(n)) });
    const searchParams = { identifier: `${URN}|`, _count: "2" };
    const seen = [];
    let bundle = await client.search({ resourceType: "Patient", searchParams });
    const first = bundle;
    for (; bundle; bundle = await client.nextPage({ bundle })) {
        seen.push(...bundle.entry.map((entry) => entry.resource.identifier[0].value));
    }
    const posted = await client.search({ resourceType: "Patient", searchParams, options: { postSearch: true } });
    assert.deepEqual(ids(posted), ids(first));
    return seen;
}

const ids = (bundle) => bundle.entry.map((entry) => entry.resource.id);

async function transacts() {
    const urn = "urn:uuid:6f1d2f56-2f4e-4a3c-8b7d-0c8a9c5b1e01";
    const visit = encounter("x", "transacted");
    const body = {
        resourceType: "Bundle",
        type: "transaction",
        entry: [
            { fullUrl: urn, resource: patient("transacted"), request: { method: "POST", url: "Patient" } },
            { resource: { ...visit, subject: { reference: urn } }, request: { method: "POST", url: "Encounter" } },
        ],
    };
    const done = await client.transaction({ body });
    assert.deepEqual(done.entry.map((entry) => entry.response.status.slice(0, 3)), ["201", "201"]);
    const [of, id] = done.entry[1].response.location.replace(`${FHIR_BASE}/`, "").split("/");
    const subject = (await client.read({ resourceType: of, id })).subject.reference;
    assert.ok(done.entry[0].response.location.includes(subject));
}

// --- what later versions of a server declare: done when it is declared

const WHEN_DECLARED = {
    async vread({ id }) {
        const old = await client.vread({ resourceType: "Patient", id, version: "1" });
        assert.equal(old.meta.versionId, "1");
        assert.equal(old.active, undefined);
    },
    async "history-instance"({ id }) {
        const found = await client.resourceHistory({ resourceType: "Patient", id });
        assert.deepEqual(found.entry.map((entry) => entry.resource.meta.versionId), ["2", "1"]);
    },
    async "history-type"() {
        assert.equal((await client.typeHistory({ resourceType: "Patient" })).type, "history");
    },
    async conditionalCreate({ id }) {
        const options = { headers: { "If-None-Exist": `identifier=${URN}|0` } };
        const again = await client.create({ resourceType: "Patient", body: patient("0"), options });
        assert.equal(Client.httpFor(again).response.status, 200);
        assert.equal(again.id, id);
    },
    async conditionalUpdate({ id }) {
        const searchParams = { identifier: `${URN}|0` };
        const body = patient("0", { active: false });
        assert.equal((await client.update({ resourceType: "Patient", searchParams, body })).id, id);
    },
    async patch({ id }) {
        const jsonPatch = [{ op: "add", path: "/gender", value: "other" }];
        assert.equal((await client.patch({ resourceType: "Patient", id, jsonPatch })).gender, "other");
    },
    async delete({ id }) {
        await client.delete({ resourceType: "Patient", id });
        const gone = client.read({ resourceType: "Patient", id });
        await assert.rejects(gone, (error) => error.response.status === 410);
    },
};

const declares = await discovers();
await isRefusedWithoutAToken();
client.bearerToken = ACCESS_TOKEN;
const made = await creates();
const everything = await records(made);
await updates(made);
const paged = await pages();
await transacts();
const declared = Object.keys(WHEN_DECLARED).filter((what) => declares("Patient", what));
for (const what of declared) await WHEN_DECLARED[what](made);
console.log(JSON.stringify({ everything, paged, declared }));
