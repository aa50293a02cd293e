"""The wheel is whole: installed anywhere, it finds its data without a checkout beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "mappings" / "basic" / "examples" / "record.json"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel, as pip lays it out."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_has_its_data_and_its_licence_and_nothing_of_the_tests(installed: Path) -> None:
    data = installed / "fhir_server" / "data"
    for name in ("profiles", "mappings", "terminology", "capability_statement.json"):
        kept = [path.relative_to(ROOT) for path in sorted((ROOT / name).rglob("*.json"))] or [Path(name)]
        assert [path for path in kept if not (data / path).is_file()] == []
    assert list(installed.glob("*.dist-info/licenses/LICENSE"))
    assert not list(installed.rglob("test_*.py"))


def test_the_program_maps_a_record_from_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, {str(installed)!r}); from fhir_server.__main__ import main; main()"
    mapped = subprocess.run(
        [sys.executable, "-c", program, "records", "map", str(EXAMPLE)],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(mapped.stdout.splitlines()[0])["resourceType"]
