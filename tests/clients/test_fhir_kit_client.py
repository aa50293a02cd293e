"""fhir-kit-client (npm) against a running server; runs where Node is present."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from people import CARD, CCCD, HISTORY, NAME, a_transaction
from running_server import RunningServer

FOLDER = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def node() -> str:
    """Node with the client's packages beside it, as package-lock.json names them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node is not installed")
    if not (FOLDER / "node_modules" / ".package-lock.json").exists():
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=FOLDER, check=True, capture_output=True, timeout=170)
    return node


def test_every_call_of_fhir_kit_client_gives_what_its_user_expects(node: str, server: RunningServer) -> None:
    cases = {
        "base": server.base,
        "name": NAME,
        "cccd": CCCD,
        "card": CARD,
        "history": HISTORY,
        "transaction": a_transaction(),
    }
    run = subprocess.run(
        [node, "--test", "--test-reporter=spec", "client.test.js"],
        cwd=FOLDER,
        env=os.environ | {"FHIR_TEST_CASES": json.dumps(cases)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
