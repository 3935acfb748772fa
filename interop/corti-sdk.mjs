// Corti's own SDK on a whole journey against a sandbox: what the SDK cannot tell from Corti, the bridge cannot either.
//
// Environment: CORTI_API_URL, CORTI_AUTH_URL, CORTI_TENANT, CORTI_CLIENT_ID, CORTI_CLIENT_SECRET, AUDIO (a file in
// a format that Corti takes on the socket). Prints one JSON object with what was seen; any surprise is an error.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { CortiClient, CortiError } from "@corti/sdk";

const { CORTI_API_URL, CORTI_AUTH_URL, CORTI_TENANT, CORTI_CLIENT_ID, CORTI_CLIENT_SECRET, AUDIO } = process.env;

const environment = {
    base: `${CORTI_API_URL}/v2`,
    wss: `${CORTI_API_URL.replace(/^http/, "ws")}/audio-bridge/v2`,
    login: `${CORTI_AUTH_URL}/realms`,
    agents: CORTI_API_URL,
};

function clientWith(clientSecret) {
    return new CortiClient({
        environment,
        tenantName: CORTI_TENANT,
        auth: { clientId: CORTI_CLIENT_ID, clientSecret },
        maxRetries: 0,
    });
}

const client = clientWith(CORTI_CLIENT_SECRET);

async function authenticates() {
    const headers = await client.getAuthHeaders();
    assert.match(headers.get("Authorization"), /^Bearer ey/);
    assert.equal(headers.get("Tenant-Name"), CORTI_TENANT);
    await assert.rejects(clientWith("wrong").interactions.list(), (error) => error.statusCode === 401);
}

async function creates() {
    const identifier = `sdk-${randomUUID()}`;
    const created = await client.interactions.create({
        encounter: {
            identifier,
            status: "planned",
            type: "first_consultation",
            period: { startedAt: new Date("2026-11-22T08:15:00Z") },
            title: "Journey of the SDK",
        },
        patient: { identifier: "MRN-0001", name: "Example Patient", gender: "female" },
    });
    assert.ok(created.websocketUrl.startsWith(environment.wss));
    const read = await client.interactions.get(created.interactionId);
    assert.equal(read.encounter.identifier, identifier);
    assert.equal(read.encounter.period.startedAt.toISOString(), "2026-11-22T08:15:00.000Z");
    assert.ok(read.createdAt instanceof Date);
    return created.interactionId;
}

async function lists(interaction) {
    const seen = [];
    for await (const one of await client.interactions.list({ pageSize: 2 })) {
        seen.push(one.id);
    }
    assert.ok(seen.includes(interaction));
    return seen.length;
}

async function patches(interaction) {
    const patched = await client.interactions.update(interaction, { encounter: { status: "in-progress" } });
    assert.equal(patched.encounter.status, "in-progress");
    assert.equal(patched.encounter.title, "Journey of the SDK");
}

async function refuses(interaction) {
    const refused = async (promise, status) => {
        await assert.rejects(promise, (error) => error instanceof CortiError && error.statusCode === status);
    };
    await refused(client.interactions.get("not-a-uuid"), 400);
    await refused(client.interactions.get(randomUUID()), 404);
    await refused(client.transcripts.create(interaction, { recordingId: randomUUID(), primaryLanguage: "en" }), 404);
}

async function streams(interaction) {
    const socket = await client.stream.connect({
        id: interaction,
        reconnectAttempts: 0,
        configuration: {
            transcription: {
                primaryLanguage: "en",
                isDiarization: true,
                isMultichannel: false,
                participants: [{ channel: 0, role: "multiple" }],
            },
            mode: { type: "facts", outputLocale: "en" },
        },
    });
    const heard = { types: [], words: [], facts: [] };
    const ended = new Promise((resolve, reject) => {
        socket.on("error", reject);
        socket.on("message", (message) => {
            heard.types.push(message.type);
            if (message.type === "transcript") {
                heard.words.push(...message.data.map((segment) => segment.transcript));
                assert.equal(message.data[0].final, true);
                assert.equal(typeof message.data[0].time.end, "number");
            }
            if (message.type === "facts") heard.facts.push(...message.fact.map((fact) => fact.text));
            if (message.type === "error") reject(new Error(JSON.stringify(message)));
            if (message.type === "ENDED") resolve();
        });
    });
    const audio = readFileSync(AUDIO);
    for (let at = 0; at < audio.length; at += 8000) socket.sendAudio(audio.subarray(at, at + 8000));
    socket.sendFlush({ type: "flush" });
    socket.sendEnd({ type: "end" });
    await ended;
    socket.close();
    assert.ok(heard.types.includes("flushed"));
    assert.ok(heard.types.includes("usage"));
    return heard;
}

async function transcribes(interaction) {
    const { recordingId } = await client.recordings.upload(createReadStream(AUDIO), interaction);
    const { recordings } = await client.recordings.list(interaction);
    assert.ok(recordings.includes(recordingId));
    const content = await client.recordings.get(interaction, recordingId);
    assert.deepEqual(Buffer.from(await content.arrayBuffer()), readFileSync(AUDIO));
    const transcript = await client.transcripts.create(interaction, { recordingId, primaryLanguage: "en" });
    assert.equal(transcript.status, "completed");
    const again = await client.transcripts.get(interaction, transcript.id);
    assert.deepEqual(again.transcripts, transcript.transcripts);
    const { status } = await client.transcripts.getStatus(interaction, transcript.id);
    assert.equal(status, "completed");
    const { transcripts } = await client.transcripts.list(interaction, { full: true });
    assert.ok(transcripts.some((one) => one.id === transcript.id));
    return transcript.transcripts.map((segment) => segment.text);
}

async function keepsFacts(interaction) {
    const { data: groups } = await client.facts.factGroupsList();
    const added = await client.facts.create(interaction, {
        facts: [{ text: "Allergic to latex", group: "allergies", source: "system" }],
    });
    await client.facts.update(interaction, added.facts[0].id, { isDiscarded: true });
    const { facts } = await client.facts.list(interaction);
    assert.equal(facts.find((fact) => fact.id === added.facts[0].id).isDiscarded, true);
    assert.ok(facts.every((fact) => fact.createdAt instanceof Date));
    const extracted = await client.facts.extract({
        context: [{ type: "text", text: "I am allergic to penicillin. 40" }],
        outputLanguage: "en",
    });
    assert.ok(extracted.facts.length > 0);
    return { groups: groups.length, facts: facts.map((fact) => fact.text) };
}

await authenticates();
const interaction = await creates();
await patches(interaction);
const listed = await lists(interaction);
await refuses(interaction);
const streamed = await streams(interaction);
const transcribed = await transcribes(interaction);
const kept = await keepsFacts(interaction);
await client.interactions.delete(interaction);
await assert.rejects(client.interactions.get(interaction), (error) => error.statusCode === 404);
console.log(JSON.stringify({ listed, streamed, transcribed, kept }));
