// fhir-kit-client against a running server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from 'fhir-kit-client';
import {
  assertAllOnce, base, card, cccd, family, history, inPages, methods, name, names, statuses, transaction, types,
} from './cases.js';

const client = new Client({ baseUrl: base });
const resources = (bundle) => bundle.entry.map((entry) => entry.resource);

for (const searchParams of [{ name }, { identifier: cccd }, { identifier: card }]) {
  test(`a person is found by ${JSON.stringify(searchParams)}`, async () => {
    const bundle = await client.search({ resourceType: 'Patient', searchParams });
    assert.deepEqual(names(resources(bundle)), ['Nguyễn Văn An']);
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
  assert.deepEqual(types(resources(bundle)), new Set(['Patient', ...history]));
});

test('a transaction stores a new patient with four resources', async () => {
  assert.deepEqual(statuses(await client.transaction({ body: transaction })), ['201', '201', '201', '201']);
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
  assert.deepEqual(methods(await client.history({ resourceType, id })), ['DELETE', 'PATCH', 'PUT', 'POST']);
});

test('pages follow each other to the end', async () => {
  for (const body of inPages) await client.create({ resourceType: 'Patient', body });
  const seen = [];
  let bundle = await client.search({ resourceType: 'Patient', searchParams: { family, _count: 2 } });
  while (bundle) {
    seen.push(...resources(bundle));
    bundle = await client.nextPage({ bundle });
  }
  assertAllOnce(seen);
});
