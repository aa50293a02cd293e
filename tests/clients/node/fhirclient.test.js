// fhirclient.js (SMART) against a running server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import FHIR from 'fhirclient';
import {
  assertAllOnce, base, card, cccd, family, history, inPages, methods, name, names, statuses, transaction, types,
} from './cases.js';

const client = FHIR({}, {}).client(base);
const all = (url) => client.request(url, { pageLimit: 0, flat: true });
const query = (params) => `Patient?${new URLSearchParams(params)}`;

test('the release of FHIR is known from the capability statement', async () => {
  assert.equal(await client.getFhirRelease(), 4);
});

for (const params of [{ name }, { identifier: cccd }, { identifier: card }]) {
  test(`a person is found by ${JSON.stringify(params)}`, async () => {
    assert.deepEqual(names(await all(query(params))), ['Nguyễn Văn An']);
  });
}

test('one search gives a person with diseases, immunisations and allergies', async () => {
  const params = [['identifier', cccd], ...history.map((type) => ['_revinclude', `${type}:patient`])];
  assert.deepEqual(types(await all(query(params))), new Set(['Patient', ...history]));
});

test('a transaction stores a new patient with four resources', async () => {
  const answer = await client.request({
    url: '', method: 'POST', body: JSON.stringify(transaction), headers: { 'content-type': 'application/fhir+json' },
  });
  assert.deepEqual(statuses(answer), ['201', '201', '201', '201']);
});

test('a resource is created, read, updated, patched and deleted, and its history tells all', async () => {
  const { id } = await client.create({ resourceType: 'Patient', name: [{ text: 'Hồ Văn Em' }] });
  const url = `Patient/${id}`;
  const read = await client.request(url);
  assert.equal(read.meta.versionId, '1');
  assert.equal((await client.update({ ...read, birthDate: '2001' })).birthDate, '2001');
  const patched = await client.patch(url, [{ op: 'add', path: '/gender', value: 'female' }]);
  assert.equal(patched.gender, 'female');
  await client.delete(url);
  await assert.rejects(client.request(url), /410/);
  assert.deepEqual(methods(await client.request(`${url}/_history`)), ['DELETE', 'PATCH', 'PUT', 'POST']);
});

test('pages follow each other to the end, and what they refer to is fetched', async () => {
  for (const patient of inPages) await client.create(patient);
  assertAllOnce(await all(query({ family, _count: 2 })));
  const [condition] = await all('Condition?_count=1');
  await client.resolveReferences(condition, ['subject']);
  assert.equal(condition.subject.resourceType, 'Patient');
});
