// A real browser with the fhirclient library on a page of its own: an app that opens by itself, one that an EHR
// opens, and Swagger UI's Authorize. Prints one JSON line of what came of it.
// Usage: node browser.mjs CHROMIUM FOLDER, with what it needs as JSON on standard input.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import puppeteer from "puppeteer-core";

const [chromium, folder] = process.argv.slice(2);
const asked = JSON.parse(readFileSync(0, "utf8"));
const library = readFileSync(new URL("node_modules/fhirclient/build/fhir-client.js", import.meta.url));
const scope = "openid fhirUser patient/*.rs";

const begin = (extra) => `<script src="/fhir-client.js"></script><script>FHIR.oauth2.authorize(${JSON.stringify({
  clientId: asked.client, redirectUri: "/app", pkceMode: "required", ...extra,
})})</script>`;
const pages = {
  "/standalone": begin({ iss: asked.base, scope: `launch/patient ${scope}` }),
  "/launch": begin({ scope: `launch ${scope}` }),
  "/app": `<script src="/fhir-client.js"></script><p id="told"></p><script>
    FHIR.oauth2.ready().then(async (client) => ({
      patient: (await client.patient.read()).id,
      visits: (await client.request("Encounter")).total,
      user: client.user.fhirUser,
    })).catch((error) => ({ error: String(error) })).then((told) => {
      document.getElementById("told").textContent = JSON.stringify(told);
    })</script>`,
};
const app = createServer((request, answer) => {
  const path = new URL(request.url, "http://app").pathname;
  if (path === "/fhir-client.js") return answer.setHeader("Content-Type", "text/javascript").end(library);
  answer.setHeader("Content-Type", "text/html").end(`<!doctype html><meta charset="utf-8">${pages[path] ?? ""}`);
});
await new Promise((ready) => app.listen(asked.port, "127.0.0.1", ready));

const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const violations = [];
const dialogs = [];
let picker = "";

async function fresh() {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  page.on("dialog", (dialog) => { dialogs.push(dialog.message()); dialog.dismiss(); });
  await page.evaluateOnNewDocument(() => {
    window.seen = [];
    document.addEventListener("securitypolicyviolation", (event) => window.seen.push(event.violatedDirective));
  });
  page.show = async (name) => {
    violations.push(...(await page.evaluate(() => window.seen)));
    await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  };
  page.send = (selector) => Promise.all([page.waitForNavigation(), page.click(selector)]);
  return page;
}

async function signIn(page, name) {
  await page.waitForSelector("#password");
  await page.show(`${name}-sign-in`);
  await page.type("#name", asked.user);
  await page.type("#password", asked.password);
  await page.send("form[action$='/oauth/sign-in'] button");
}

async function allow(page, name) {
  await page.waitForSelector("button[value=allow]");
  await page.show(`${name}-consent`);
  await page.click("button[value=allow]");
  await page.waitForFunction(() => document.getElementById("told")?.textContent, { timeout: 60000 });
  return JSON.parse(await page.$eval("#told", (told) => told.textContent));
}

async function standalone() {
  const page = await fresh();
  await page.goto(`http://127.0.0.1:${asked.port}/standalone`);
  await signIn(page, "standalone");
  await page.waitForSelector(`input[name=patient]`);
  await page.show("standalone-patient");
  picker = await page.$eval("main", (main) => main.textContent);
  await page.click(`input[value="${asked.patient}"]`);
  await page.send("form:nth-of-type(2) button");
  return allow(page, "standalone");
}

async function launched() {
  const page = await fresh();
  const query = new URLSearchParams({ iss: asked.base, launch: asked.launch });
  await page.goto(`http://127.0.0.1:${asked.port}/launch?${query}`);
  await signIn(page, "launch");
  return allow(page, "launch");
}

async function swagger() {
  const page = await fresh();
  await page.goto(asked.docs);
  await page.waitForSelector("button.authorize");
  await page.show("swagger");
  await page.click("button.authorize");
  await page.waitForSelector(".auth-container input[type=password], .auth-container [id^=client_secret]");
  for (const box of await page.$$(".auth-container")) {
    const secret = await box.$("[id^=client_secret]");
    const text = await box.evaluate((each) => each.textContent);
    if (!secret || !text.includes("clientCredentials")) continue;
    await (await box.$("[id^=client_id]")).type(asked.backend);
    await secret.type(asked.secret);
    await (await box.$("input[type=checkbox]")).evaluate((each) => each.click());
    await (await box.$("button.authorize")).evaluate((each) => each.click());
    await page.waitForFunction(() => [...document.querySelectorAll(".auth-container button")]
      .some((each) => each.textContent === "Logout"), { timeout: 30000 });
    await page.screenshot({ path: `${folder}/swagger-authorized.png` });
    violations.push(...(await page.evaluate(() => window.seen)));
    return "authorized";
  }
  return "no form for a client and its secret";
}

const told = { standalone: await standalone(), launch: await launched(), swagger: await swagger() };
console.log(JSON.stringify({ ...told, picker, violations, dialogs }));
await browser.close();
app.close();
