// What @medplum/core says of each line of a corpus: {name, told: [places of errors], first: its first text}.
// usage: node javascript.mjs CORPUS FOLDER (package/ of hl7.fhir.r4.core)
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';

const [corpus, folder] = process.argv.slice(2);
const definitions = readdirSync(folder)
  .filter((name) => name.startsWith('StructureDefinition-'))
  .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')))
  .filter((one) => one.derivation !== 'constraint');
indexStructureDefinitionBundle(definitions);

for await (const line of createInterface({ input: createReadStream(corpus) })) {
  const { name, body } = JSON.parse(line);
  let told = [];
  let first = '';
  try {
    validateResource(JSON.parse(body));
  } catch (fault) {
    const issues = (fault.outcome?.issue ?? [{ details: { text: String(fault) } }]).filter((one) => one.severity !== 'warning');
    told = issues.flatMap((one) => one.expression ?? ['']);
    first = issues[0]?.details?.text ?? '';
  }
  console.log(JSON.stringify({ name, told, first }));
}
