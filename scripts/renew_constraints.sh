#!/bin/sh
# Writes constraints.txt anew: the newest versions that pyproject.toml allows, resolved in an environment of its own.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/python -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --upgrade pip
"$folder/venv/bin/pip" install --quiet --editable '.[embedded]' --group dev
{
    head -n 1 constraints.txt
    "$folder/venv/bin/pip" freeze --all --exclude-editable | grep -E '^[A-Za-z0-9._-]+==' | grep -vi -E '^setuptools=='
} >"$folder/constraints.txt"
mv "$folder/constraints.txt" constraints.txt
