// fhir-kit-client against a running server; tests/clients/test_fhir_kit_client.py starts that server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from 'fhir-kit-client';

const { base, name, cccd, card, history, transaction } = JSON.parse(process.env.FHIR_TEST_CASES);
const client = new Client({ baseUrl: base });
const types = (bundle) => new Set(bundle.entry.map((entry) => entry.resource.resourceType));

for (const searchParams of [{ name }, { identifier: cccd }, { identifier: card }]) {
  test(`a person is found by ${JSON.stringify(searchParams)}`, async () => {
    const bundle = await client.search({ resourceType: 'Patient', searchParams });
    assert.deepEqual(bundle.entry.map((entry) => entry.resource.name[0].text), ['Nguyễn Văn An']);
  });
}

test('a search by POST finds the same person', async () => {
  const bundle = await client.search({
    resourceType: 'Patient', searchParams: { identifier: cccd }, options: { postSearch: true },
  });
  assert.equal(bundle.entry.length, 1);
});

test('one search gives a person with diseases, immunisations and allergies', async () => {
  const _revinclude = history.map((type) => `${type}:patient`);
  const bundle = await client.search({ resourceType: 'Patient', searchParams: { identifier: cccd, _revinclude } });
  assert.deepEqual(types(bundle), new Set(['Patient', ...history]));
});

test('a transaction stores a new patient with four resources', async () => {
  const answer = await client.transaction({ body: transaction });
  assert.deepEqual(answer.entry.map((entry) => entry.response.status.slice(0, 3)), ['201', '201', '201', '201']);
});

test('a resource is created, read, updated, patched and deleted, and its history tells all', async () => {
  const resourceType = 'Patient';
  const { id } = await client.create({ resourceType, body: { resourceType, name: [{ text: 'Võ Thị Dung' }] } });
  const read = await client.read({ resourceType, id });
  assert.equal(read.meta.versionId, '1');
  const updated = await client.update({ resourceType, id, body: { ...read, birthDate: '2001' } });
  assert.equal(updated.birthDate, '2001');
  const jsonPatch = [{ op: 'add', path: '/gender', value: 'female' }];
  await client.patch({ resourceType, id, jsonPatch });
  const second = await client.vread({ resourceType, id, version: '2' });
  assert.equal(second.gender, undefined);
  await client.delete({ resourceType, id });
  await assert.rejects(client.read({ resourceType, id }), ({ response }) => response.status === 410);
  const told = await client.history({ resourceType, id });
  assert.deepEqual(told.entry.map((entry) => entry.request.method), ['DELETE', 'PATCH', 'PUT', 'POST']);
});

test('pages follow each other to the end', async () => {
  const seen = new Set();
  let bundle = await client.search({ resourceType: 'Condition', searchParams: { _count: 1 } });
  while (bundle) {
    for (const entry of bundle.entry) seen.add(entry.resource.id);
    bundle = await client.nextPage({ bundle });
  }
  const counted = await client.search({ resourceType: 'Condition', searchParams: { _summary: 'count' } });
  assert.equal(seen.size, counted.total);
});
