#!/bin/sh
# Proves that a folder of wheels is enough: installs from it with no registry, starts, answers, stops.
# offline_install_test.sh WHEELHOUSE
set -eu
wheelhouse=$(cd "$1" && pwd)
folder=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" || true; fi; rm -rf "$folder"' EXIT

"$(dirname "$0")/../.venv/bin/python" -m venv "$folder/venv"
cd "$folder"
# An empty configuration and a registry that does not exist: nothing but the folder can be asked.
env -u PIP_FIND_LINKS -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE=/dev/null \
    venv/bin/pip install --quiet --disable-pip-version-check --no-index --find-links "$wheelhouse" 'fhir-server-vn[embedded]'

venv/bin/fhir-server --version
FHIR_DATA_DIR="$folder/data" FHIR_PORT=0 venv/bin/fhir-server serve --no-sample >said 2>errors &
server=$!
tries=0
until grep -q 'ready at' said; do
    tries=$((tries + 1))
    if [ $tries -gt 600 ] || ! kill -0 "$server" 2>/dev/null; then
        cat said errors >&2
        exit 1
    fi
    sleep 0.1
done
base=$(sed -n 's/.*ready at \(http[^ ]*\).*/\1/p' said)
venv/bin/python - "$base" <<'PYTHON'
import json, sys, urllib.request

with urllib.request.urlopen(sys.argv[1] + "/metadata") as answer:
    statement = json.load(answer)
assert statement["fhirVersion"] == "4.0.1", statement
print("offline:", sys.argv[1], "serves", len(statement["rest"][0]["resource"]), "resource types")
PYTHON
