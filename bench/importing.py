"""Rate and memory of an import into a new embedded MongoDB: `python bench/importing.py [PEOPLE]` (10,000 by default).

Prints resources a second, the peak memory of the importer and of mongod, and the same for sending everything again.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PROGRAM = (sys.executable, "-m", "fhir_server")


def main() -> None:
    people = sys.argv[1] if len(sys.argv) > 1 else "10000"
    with tempfile.TemporaryDirectory(prefix="fhir-bench-") as folder:
        records, data = Path(folder, "records"), Path(folder, "data")
        env = os.environ | {"FHIR_DATA_DIR": str(data)}
        env.pop("FHIR_MONGODB_URI", None)
        timed("sample", [*PROGRAM, "sample", "--people", people, "--out", str(records)], env, data)
        for title in ("import", "import again"):
            timed(title, [*PROGRAM, "records", "import", str(records)], env, data)
        size = sum(path.stat().st_blocks * 512 for path in data.rglob("*") if path.is_file())
        print(f"data directory: {size >> 20} MiB (about 300 of them are there before the first record)")


def timed(title: str, command: list[str], env: dict[str, str], data: Path) -> None:
    """Runs a command and tells its last lines, its time, its own peak memory and that of the mongod over `data`."""
    before, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as running:
        peaks = {"importer": 0, "mongod": 0}
        watching = threading.Thread(target=watch, args=(running, data, peaks))
        watching.start()
        assert running.stdout is not None
        said = running.stdout.read().splitlines()
    watching.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - cpu
    print(f"{title}: {time.monotonic() - before:.1f} s, {used:.1f} s of CPU; load {os.getloadavg()[0]:.1f}")
    for line in said:
        if " records:" in line or " resources written" in line:
            print(f"  {line}")
    print(f"  peak memory: {peaks['importer'] >> 10} MiB, mongod {peaks['mongod'] >> 10} MiB")


def watch(running: subprocess.Popen[str], data: Path, peaks: dict[str, int]) -> None:
    """Resource usage as the kernel sums it up would mix the two processes, so each is looked at while it runs."""
    while running.poll() is None:
        peaks["importer"] = max(peaks["importer"], peak_memory(running.pid))
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and runs_over(entry, data):
                peaks["mongod"] = max(peaks["mongod"], peak_memory(int(entry.name)))
        time.sleep(0.2)


def runs_over(process: Path, data: Path) -> bool:
    try:
        command = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return command[0].endswith(b"/mongod") and str(data / "db").encode() in command


def peak_memory(pid: int) -> int:
    """KiB that a process has ever held, 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    main()
