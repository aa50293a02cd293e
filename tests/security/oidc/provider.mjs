// node provider.mjs AUDIENCE CLAIMS: a provider with one client, whose access tokens for AUDIENCE are JWTs and for
// urn:opaque are opaque ones, with more claims. It prints its URL when it is ready.
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const [audience, claims] = process.argv.slice(2);
const server = createServer();
await new Promise((listens) => server.listen(0, "127.0.0.1", listens));
const issuer = `http://127.0.0.1:${server.address().port}`;
const client = { client_id: "app", client_secret: "of-the-app", redirect_uris: [], response_types: [] };
const provider = new Provider(issuer, {
  clients: [{ ...client, grant_types: ["client_credentials"] }],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: "patient/*.rs",
        audience,
        accessTokenTTL: 300,
        accessTokenFormat: resource === "urn:opaque" ? "opaque" : "jwt",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  extraTokenClaims: () => JSON.parse(claims),
});
server.on("request", provider.callback());
console.log(issuer);
