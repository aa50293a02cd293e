// @medplum/core against a running server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MedplumClient } from '@medplum/core';
import {
  assertAllOnce, base, card, cccd, family, history, inPages, methods, name, names, statuses, transaction, types,
} from './cases.js';

const medplum = new MedplumClient({ baseUrl: new URL(base).origin, fhirUrlPath: 'fhir', fetch, cacheTime: 0 });
const system = 'http://example.org/so-kham';

for (const params of [{ name }, { identifier: cccd }, { identifier: card }]) {
  test(`a person is found by ${JSON.stringify(params)}`, async () => {
    assert.deepEqual(names(await medplum.searchResources('Patient', params)), ['Nguyễn Văn An']);
  });
}

test('one search gives a person with diseases, immunisations and allergies', async () => {
  const params = [['identifier', cccd], ...history.map((type) => ['_revinclude', `${type}:patient`])];
  const bundle = await medplum.search('Patient', new URLSearchParams(params));
  assert.deepEqual(types(bundle.entry.map((entry) => entry.resource)), new Set(['Patient', ...history]));
});

test('a transaction stores a new patient with four resources', async () => {
  assert.deepEqual(statuses(await medplum.executeBatch(transaction)), ['201', '201', '201', '201']);
});

test('a resource is created, read, updated, patched and deleted, and its history tells all', async () => {
  const made = await medplum.createResource({ resourceType: 'Patient', name: [{ text: 'Lý Thị Phượng' }] });
  const read = await medplum.readResource('Patient', made.id);
  assert.equal(read.meta.versionId, '1');
  assert.equal((await medplum.updateResource({ ...read, birthDate: '2001' })).birthDate, '2001');
  const patched = await medplum.patchResource('Patient', made.id, [{ op: 'add', path: '/gender', value: 'female' }]);
  assert.equal(patched.gender, 'female');
  assert.equal((await medplum.readVersion('Patient', made.id, '2')).gender, undefined);
  await medplum.deleteResource('Patient', made.id);
  await assert.rejects(medplum.readResource('Patient', made.id), ({ outcome }) => outcome.issue[0].code === 'deleted');
  assert.deepEqual(methods(await medplum.readHistory('Patient', made.id)), ['DELETE', 'PATCH', 'PUT', 'POST']);
});

test('what is there already is not created again, and is updated by its number', async () => {
  const patient = { resourceType: 'Patient', identifier: [{ system, value: 'medplum' }], name: [{ text: 'Một' }] };
  const query = `identifier=${system}|medplum`;
  const first = await medplum.createResourceIfNoneExist(patient, query);
  assert.equal((await medplum.createResourceIfNoneExist(patient, query)).id, first.id);
  const upserted = await medplum.upsertResource({ ...patient, gender: 'female' }, query);
  assert.deepEqual([upserted.id, upserted.gender], [first.id, 'female']);
});

test('pages follow each other to the end', async () => {
  for (const patient of inPages) await medplum.createResource(patient);
  const seen = [];
  for await (const page of medplum.searchResourcePages('Patient', { family, _count: 2 })) seen.push(...page);
  assertAllOnce(seen);
});
