// What the journeys of FHIR clients share: where the bridge is, what it declares, and the resources that are sent.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";

export const { FHIR_BASE, ACCESS_TOKEN, AUDIO } = process.env;

/** What a statement declares: `declares("Patient", "vread")`, `declares("Patient", "conditionalCreate")`. */
export function declarations(statement) {
    const rows = new Map(statement.rest[0].resource.map((row) => [row.type, row]));
    return (type, what) => {
        const row = rows.get(type) ?? {};
        return row[what] === true || (row.interaction ?? []).some((one) => one.code === what);
    };
}

export const URN = `urn:test:${randomUUID()}`;

export function patient(value, changes = {}) {
    return { resourceType: "Patient", identifier: [{ system: URN, value }], name: [{ family: "Client" }], ...changes };
}

export function encounter(subject, value) {
    return {
        resourceType: "Encounter",
        identifier: [{ system: URN, value }],
        status: "in-progress",
        class: { system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: "AMB" },
        subject: { reference: `Patient/${subject}` },
    };
}

export function media(visit, content) {
    return { resourceType: "Media", status: "completed", encounter: { reference: `Encounter/${visit}` }, content };
}

export function audio() {
    return readFileSync(AUDIO);
}
