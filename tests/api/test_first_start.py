"""What a stranger meets: the first start with its sample, the URLs it prints, and the examples of the README."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from running_server import PATIENCE, RunningServer, environment, needs_embedded, running_server, wait_until_stored

pytestmark = needs_embedded

README = Path(__file__).resolve().parents[2] / "README.md"
EXAMPLE = re.compile(r"```sh\n(curl .*?)```\n```json\n(.*?)```", re.DOTALL)
EXAMPLES = EXAMPLE.findall(README.read_text("utf-8"))
ANYTHING = "…"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("first") / "data"


@pytest.fixture(scope="module")
def started(data_dir: Path) -> Iterator[RunningServer]:
    """A new server with the shipped sample. Its very first start is cut off by a signal in the middle of the load."""
    first = RunningServer(environment(data_dir))
    wait_until_stored(data_dir, first.process, 1)
    assert first.stop() == 0
    assert first.mongod() is None
    with running_server(environment(data_dir)) as server:
        server.wait_for(re.compile("Ctrl-C stops it"))
        yield server


def differences(expected: Any, found: Any, place: str = "") -> list[str]:
    """Where an answer is not what the README shows. The README may leave members out, and `…` stands for anything; at
    the end of a list it stands for the rest."""
    if expected == ANYTHING:
        return []
    if isinstance(expected, dict) and isinstance(found, dict):
        pairs = ((name, value, found.get(name)) for name, value in expected.items())
        return [told for name, value, other in pairs for told in differences(value, other, f"{place}.{name}")]
    if isinstance(expected, list) and isinstance(found, list):
        rest = expected[-1:] == [ANYTHING]
        wanted = expected[:-1] if rest else expected
        if len(found) < len(wanted) or (not rest and len(found) > len(wanted)):
            return [f"{place} has {len(found)} items"]
        pairs = ((f"[{n}]", value, other) for n, (value, other) in enumerate(zip(wanted, found, strict=False)))
        return [told for name, value, other in pairs for told in differences(value, other, place + name)]
    return [] if expected == found else [f"{place} is {found!r}"]


def test_a_load_of_the_sample_that_was_cut_off_is_completed_by_the_next_start(started: RunningServer) -> None:
    assert any(line.startswith("Sample: 1000 people") for line in started.said)


def test_the_four_urls_that_the_first_start_prints_answer_with_content(started: RunningServer) -> None:
    urls = [line.strip() for line in started.said if line.strip().startswith("http")]
    assert len(urls) == 4
    answers = [httpx.get(url, timeout=PATIENCE).json() for url in urls]
    assert [answer["resourceType"] for answer in answers] == ["CapabilityStatement", *["Bundle"] * 3]
    assert all(answer["entry"] for answer in answers[1:])


def test_the_readme_has_five_examples() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("command", "shown"), EXAMPLES)
def test_an_example_of_the_readme_gives_the_answer_that_is_shown(
    started: RunningServer, command: str, shown: str
) -> None:
    arguments = [part.replace("http://127.0.0.1:8080/fhir", started.base) for part in shlex.split(command)]
    answer = subprocess.run([*arguments, "--silent"], capture_output=True, check=True).stdout
    assert differences(json.loads(shown), json.loads(answer)) == []


def people(server: RunningServer) -> int:
    found: int = httpx.get(f"{server.base}/Patient?_summary=count", timeout=PATIENCE).json()["total"]
    return found


def test_a_later_start_loads_nothing_again(started: RunningServer, data_dir: Path) -> None:
    count = people(started)
    assert count >= 1000
    started.stop()
    with running_server(environment(data_dir)) as again:
        assert not any("Sample" in line for line in again.said)
        assert people(again) == count
