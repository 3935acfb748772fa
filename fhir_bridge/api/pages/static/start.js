// Starts Swagger UI on this server's own document, and tells it how a person signs in here.
const docs = new URL("..", document.currentScript.src);  // which may be below a path
(async () => {
  const here = await (await fetch(new URL("sign-in.json", docs))).json();
  const ui = SwaggerUIBundle({
    url: new URL("../openapi.json", docs).href,
    dom_id: "#swagger-ui",
    deepLinking: true,
    persistAuthorization: false,
    validatorUrl: null,
    oauth2RedirectUrl: here.redirect,
  });
  ui.initOAuth({
    clientId: here.clientId,
    usePkceWithAuthorizationCodeGrant: true,
    additionalQueryStringParams: { aud: here.aud },
  });
})();
