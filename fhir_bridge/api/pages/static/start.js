// Starts Swagger UI on this server's own document, and tells it how a person signs in here.
(async () => {
  const here = await (await fetch("/docs/sign-in.json")).json();
  const ui = SwaggerUIBundle({
    url: "/openapi.json",
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
