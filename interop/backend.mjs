// A backend service of SMART's own library: it finds the token endpoint, signs an assertion with its key, and works.
//
// Environment: FHIR_BASE, CLIENT, KEY (a private JWK with kid and alg). Prints one JSON object with what was seen.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import FHIR from "fhirclient";
import { importJWK, signCompactJws } from "fhirclient/lib/security/server.js";
import { fetchWellKnownJson } from "fhirclient/lib/smart.js";

const { FHIR_BASE, CLIENT, KEY } = process.env;
const jwk = JSON.parse(KEY);

async function assertion(audience) {
    const claims = { iss: CLIENT, sub: CLIENT, aud: audience, jti: randomUUID(), exp: Math.floor(Date.now() / 1000) + 300 };
    return signCompactJws(jwk.alg, await importJWK(jwk), { typ: "JWT", kid: jwk.kid }, claims);
}

async function asks(endpoint, signed) {
    const body = new URLSearchParams({
        grant_type: "client_credentials",
        scope: "system/Patient.rs",
        client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        client_assertion: signed,
    });
    const answer = await fetch(endpoint, { method: "POST", body });
    return { status: answer.status, ...(await answer.json()) };
}

const told = await fetchWellKnownJson(FHIR_BASE);
assert.ok(told.token_endpoint_auth_signing_alg_values_supported.includes(jwk.alg));
const signed = await assertion(told.token_endpoint);
const first = await asks(told.token_endpoint, signed);
const again = await asks(told.token_endpoint, signed);
const client = new FHIR.FhirClient(FHIR_BASE);
const headers = { Authorization: `Bearer ${first.access_token}` };
const found = await client.fhirRequest("Patient", { headers });
const refused = await client.fhirRequest("Encounter", { headers }).catch((error) => error.status);
console.log(JSON.stringify({ first: first.status, seconds: first.expires_in, again: again.error, found: found.total, refused }));
