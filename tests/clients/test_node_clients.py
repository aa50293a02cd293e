"""Clients of npm against a running server: fhir-kit-client, fhirclient.js and @medplum/core, where Node is present."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from people import CARD, CCCD, HISTORY, NAME, a_transaction
from running_server import PATIENCE, RunningServer

FOLDER = Path(__file__).parent / "node"
CLIENTS = {"fhir-kit-client": "Đặngkit", "fhirclient": "Đặngsmart", "medplum": "Đặngmed"}  # each has people of its own


@pytest.fixture(scope="session")
def node() -> str:
    """Node with the clients' packages beside it, as package-lock.json names them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node is not installed")
    if wanted() != installed():
        subprocess.run([npm, "ci"], cwd=FOLDER, check=True, capture_output=True, timeout=170)
    return node


def wanted() -> dict[str, str]:
    """The packages of the lock file that are not optional, with their versions."""
    packages: dict[str, Any] = json.loads((FOLDER / "package-lock.json").read_bytes())["packages"]
    return {name: one["version"] for name, one in packages.items() if name and not one.get("optional")}


def installed() -> dict[str, str]:
    told = FOLDER / "node_modules" / ".package-lock.json"
    packages = json.loads(told.read_bytes())["packages"] if told.exists() else {}
    return {name: one["version"] for name, one in packages.items()}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_call_of_the_client_gives_what_its_user_expects(node: str, server: RunningServer, client: str) -> None:
    cases = {
        "base": server.base,
        "name": NAME,
        "cccd": CCCD,
        "card": CARD,
        "history": HISTORY,
        "transaction": a_transaction(),
        "family": CLIENTS[client],
    }
    run = subprocess.run(
        [node, "--test", "--test-reporter=spec", f"{client}.test.js"],
        cwd=FOLDER,
        env=os.environ | {"FHIR_TEST_CASES": json.dumps(cases)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
