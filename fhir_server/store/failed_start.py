"""Why an embedded mongod ended before it was ready, in one sentence."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path


def why_it_ended(binary: str, returncode: int, log_file: Path) -> str:
    """One sentence for a mongod that ended before it was ready."""
    with log_file.open("rb") as written:
        written.seek(max(0, log_file.stat().st_size - 32_768))
        tail = written.read().decode("utf-8", "replace")
    missing = _missing_libraries(binary) if returncode == 127 else ()
    if missing:
        return (
            f"The embedded MongoDB needs a shared library that this machine does not have: {', '.join(missing)} "
            "(on Debian or Ubuntu: apt install libcurl4 libssl3)."
        )
    if returncode == 127:
        return f"The embedded MongoDB cannot be executed on this machine: {tail.strip().splitlines()[-1]}."
    if returncode == -4:
        return "The embedded MongoDB needs a processor with AVX; set FHIR_MONGODB_URI to a MongoDB replica set."
    if "No space left on device" in tail:
        return f"The disk of {log_file.parent} is full, so the database cannot start."
    faults = re.findall(r'"s":"[EF]".*?"msg":"([^"]*)"(?:.*?"error":"?([^"}]*))?', tail)
    said = ": ".join(part for part in faults[-1] if part) if faults else "it said nothing"
    return f"The embedded MongoDB ended with code {returncode} ({said}); its log is {log_file}."


def _missing_libraries(binary: str) -> tuple[str, ...]:
    """What the loader does not find (what `ldd` does)."""
    traced = subprocess.run(  # noqa: S603  our own binary
        [binary], env={**os.environ, "LD_TRACE_LOADED_OBJECTS": "1"}, capture_output=True, check=False, text=True
    )
    listed = re.findall(r"^\s*(\S+) => not found", traced.stdout, re.MULTILINE)
    return tuple(listed or re.findall(r"(\S+): cannot open shared object", traced.stderr))
