// npm oidc-provider as an authorization server: JWT access tokens for one resource, opaque ones without it,
// introspection, and its own pages for signing in. Prints its origin once it listens.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const { FHIR_BASE, SECRET, BACK } = process.env;
const scopes = "system/Encounter.rs system/Patient.cruds user/*.rs";
const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const key = { ...privateKey.export({ format: "jwk" }), kid: "only", use: "sig", alg: "ES256" };

const client = (client_id, more) => ({
  client_id, client_secret: SECRET, redirect_uris: [], response_types: [], grant_types: ["client_credentials"],
  id_token_signed_response_alg: "ES256", ...more,
});
const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const origin = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(origin, {
    jwks: { keys: [key] },
    clients: [
      client("ehr", { scope: scopes }),
      client("bridge", {
        redirect_uris: [BACK], response_types: ["code"], grant_types: ["authorization_code"],
      }),
    ],
    scopes: ["openid", ...scopes.split(" ")],
    claims: { openid: ["sub", "fhirUser"] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, fhirUser: `Practitioner/${id}` }) }),
    features: {
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        getResourceServerInfo: (_, resource) => ({
          scope: scopes, audience: resource, accessTokenTTL: 300,
          accessTokenFormat: resource === FHIR_BASE ? "jwt" : "opaque", jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
  });
  server.on("request", provider.callback());
  console.log(origin);
});
