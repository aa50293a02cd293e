#!/bin/sh
# Makes .venv with what `make serve` or `make test` needs, in the versions of constraints.txt: environment.sh serve|test
set -eu
cd "$(dirname "$0")/.."
purpose=$1
venv=.venv

suitable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3.14 python3 python; do
        if suitable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

if [ ! -x $venv/bin/python ] || ! suitable $venv/bin/python; then
    rm -rf $venv
    python=$(find_python)
    if command -v uv >/dev/null 2>&1; then
        uv venv --quiet --python "${python:-3.11}" $venv
    elif [ -z "$python" ]; then
        found=$(python3 --version 2>/dev/null || echo none)
        echo "Python 3.11 or newer is needed, and this machine has $found. Install it, or name it: make PYTHON=/path/to/python3.11 …" >&2
        exit 1
    elif ! "$python" -m venv $venv; then
        rm -rf $venv
        echo "$python cannot make a virtual environment (on Debian or Ubuntu: apt install python3-venv)." >&2
        exit 1
    fi
fi

install() {
    if command -v uv >/dev/null 2>&1; then
        uv pip install --quiet --python $venv/bin/python --constraint constraints.txt "$@"
    else
        $venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --constraint constraints.txt "$@"
    fi
}

echo "Installing into $venv (only when pyproject.toml or constraints.txt has changed) …" >&2
if [ "$purpose" = test ]; then
    install pip # an older one knows no dependency groups, and uv brings none for `make wheel`
    install --editable '.[embedded]' --group dev
    touch $venv/.ready-to-serve
else
    install --editable '.[embedded]'
fi
touch "$venv/.ready-to-$purpose"
