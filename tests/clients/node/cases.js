// What tests/clients/test_node_clients.py, which starts the server, asks of every client.
import assert from 'node:assert/strict';

export const { base, name, cccd, card, history, transaction, family } = JSON.parse(process.env.FHIR_TEST_CASES);

export const types = (resources) => new Set(resources.map((resource) => resource.resourceType));
export const methods = (bundle) => bundle.entry.map((entry) => entry.request.method);
export const statuses = (bundle) => bundle.entry.map((entry) => entry.response.status.slice(0, 3));
export const names = (patients) => patients.map((patient) => patient.name[0].text);

// As many people of one family as make several pages.
export const inPages = [1, 2, 3, 4, 5].map((number) => ({
  resourceType: 'Patient', name: [{ text: `${family} ${number}`, family }],
}));

export function assertAllOnce(patients) {
  assert.deepEqual(names(patients).sort(), names(inPages));
}
