// node provider.mjs PORT AUDIENCE CLAIMS: a provider with one client, whose access tokens for AUDIENCE are JWTs and for
// urn:opaque are opaque ones, with more claims.
import { Provider } from "oidc-provider";

const [port, audience, claims] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
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
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
