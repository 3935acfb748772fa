// Medplum's client, unmodified, on a whole journey: what the CapabilityStatement declares is done, all of it works.
//
// Environment: FHIR_BASE, ACCESS_TOKEN, AUDIO (a WAV file). Prints one JSON object with what was seen.
import assert from "node:assert/strict";
import { MedplumClient } from "@medplum/core";
import { ACCESS_TOKEN, FHIR_BASE, URN, audio, declarations, encounter, media, patient } from "./journey.mjs";

const ORIGIN = FHIR_BASE.replace(/\/fhir$/, "/");

const client = new MedplumClient({ baseUrl: ORIGIN, fhirUrlPath: "fhir", accessToken: ACCESS_TOKEN, fetch, cacheTime: 0 });

async function isToldWhatIsMissing() {
    await assert.rejects(client.readResource("Patient", "nobody"), ({ outcome }) => {
        assert.equal(outcome.issue[0].code, "not-found");
        return true;
    });
}

async function creates() {
    const made = await client.createResource(patient("0"));
    const updated = await client.updateResource({ ...made, active: true });
    assert.equal(updated.meta.versionId, "2");
    assert.deepEqual(await client.readResource("Patient", made.id, { cache: "reload" }), updated);
    return updated;
}

async function records(subject) {
    const visit = await client.createResource(encounter(subject.id, "visit"));
    const upload = { data: audio(), contentType: "audio/wav", filename: "visit.wav" };
    const binary = await client.createBinary(upload);
    const content = { contentType: "audio/wav", url: `Binary/${binary.id}` };
    const recording = await client.createResource(media(visit.id, content));
    const blob = await client.download(client.fhirUrl("Binary", binary.id), { headers: { Accept: "*/*" } });
    assert.deepEqual(Buffer.from(await blob.arrayBuffer()), audio());
    const tasks = await client.searchResources("Task", { focus: `Media/${recording.id}` });
    return tasks.map((task) => task.status);
}

async function pages() {
    for (let n = 1; n <= 4; n += 1) await client.createResource(patient(String(n)));
    const query = { identifier: `${URN}|`, _count: 2 };
    const seen = [];
    for await (const page of client.searchResourcePages("Patient", query)) {
        seen.push(...page.map((one) => one.identifier[0].value));
    }
    return seen;
}

const WHEN_DECLARED = {
    async vread({ id }) {
        assert.equal((await client.readVersion("Patient", id, "1")).active, undefined);
    },
    async "history-instance"({ id }) {
        assert.equal((await client.readHistory("Patient", id)).entry.length, 2);
    },
    async conditionalCreate({ id }) {
        assert.equal((await client.createResourceIfNoneExist(patient("0"), `identifier=${URN}|0`)).id, id);
    },
    async conditionalUpdate({ id }) {
        assert.equal((await client.upsertResource(patient("0"), `identifier=${URN}|0`)).id, id);
    },
    async patch({ id }) {
        const patched = await client.patchResource("Patient", id, [{ op: "add", path: "/gender", value: "other" }]);
        assert.equal(patched.gender, "other");
    },
    async delete({ id }) {
        await client.deleteResource("Patient", id);
        await assert.rejects(client.readResource("Patient", id, { cache: "reload" }));
    },
};

await isToldWhatIsMissing();
const made = await creates();
const tasks = await records(made);
const paged = await pages();
const declares = declarations(await client.get(client.fhirUrl("metadata")));
const declared = Object.keys(WHEN_DECLARED).filter((what) => declares("Patient", what));
for (const what of declared) await WHEN_DECLARED[what](made);
console.log(JSON.stringify({ tasks, paged, declared }));
