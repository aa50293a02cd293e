"""From files of records to searchable FHIR: `python -m bench.records [PEOPLE]` (10,000; 100,000 at full size).

HSSK-831 and insurance files of a commune, into a new embedded MongoDB: with base validation and with profiles, then the
same files again, and another commune into the store that is full by then. Prints resources a second, CPU a resource,
the memory of every process after a quarter, half and all of the time, what mapping alone takes, and what each part of
the importer does (`record_parts`). Ends with a fault when a step does.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bench.record_parts import account
from fhir_server.config import Settings
from fhir_server.records.importing import formats_of, map_records

HELD_AT_ONCE = 200  # people whose records `parts` holds, however many are imported
PROGRAM = (sys.executable, "-m", "fhir_server")
WRITTEN = re.compile(r"(\d+) of (\d+) resources written in ([\d.]+) s")


def main() -> None:
    people = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory(prefix="fhir-bench-") as folder:
        first, second, few, data = (Path(folder, name) for name in ("first", "second", "few", "data"))
        env = os.environ | {"FHIR_DATA_DIR": str(data), "FHIR_NUMBER_CHANGES": "no"}
        env.pop("FHIR_MONGODB_URI", None)
        sample(people, 1, first, env)
        sample(max(people // 5, 100), 2, second, env)
        sample(min(people, HELD_AT_ONCE), 1, few, env)
        mapped(first)
        parts(few)
        timed("empty store, base validation", first, env | {"FHIR_RECORD_VALIDATION": "base"}, data)
        timed("the same files again", first, env | {"FHIR_RECORD_VALIDATION": "base"}, data)
        timed("full store, base validation", second, env | {"FHIR_RECORD_VALIDATION": "base"}, data)
        size = sum(path.stat().st_blocks * 512 for path in data.rglob("*") if path.is_file())
        print(f"data directory: {size >> 20} MiB (about 300 of them are there before the first record)")
        shutil.rmtree(data)
        timed("empty store, profile validation", first, env, data)


def sample(people: int, seed: int, out: Path, env: dict[str, str]) -> None:
    """A commune without the files of the basic group."""
    subprocess.run(
        [*PROGRAM, "sample", "--people", str(people), "--seed", str(seed), "--out", str(out)],
        env=env,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for path in out.rglob("*"):
        if path.suffix in (".json", ".ndjson", ".csv"):
            path.unlink()


def mapped(folder: Path) -> None:
    """Each format alone, from the bytes of a file to transaction Bundles: no store, no validation."""
    formats = formats_of(Settings())
    of_format: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*.xml")):
        of_format[path.parent.relative_to(folder).parts[0]].append(path)
    for name, paths in of_format.items():
        list(map_records(paths[:20], formats))  # reads the code lists
        began = time.process_time()
        made = sum(len(bundle["entry"]) for _, bundle in map_records(paths, formats) if bundle is not None)
        spent = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(f"mapping {name}: {spent / max(made, 1) * 1e6:.0f} us CPU a resource ({made} of them), peak {peak} MiB")


def parts(folder: Path) -> None:
    """What the importer does in Python, a part at a time."""
    print("CPU us a resource: " + ", ".join(f"{name} {micros:.0f}" for name, micros in account(folder)))


def timed(title: str, folder: Path, env: dict[str, str], data: Path) -> None:
    """One import as a user runs it, the start of the program and of MongoDB included."""
    before, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [*PROGRAM, "records", "import", str(folder)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True) as running:
        seen: list[dict[int, Process]] = []
        watching = threading.Thread(target=watch, args=(running, data, seen))
        watching.start()
        assert running.stdout is not None
        said = running.stdout.read()
    watching.join()
    if running.returncode:
        raise SystemExit(f"{title}: the import ended with {running.returncode}:\n{said[-2000:]}")
    seconds = time.monotonic() - before
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    found = WRITTEN.search(said)
    if found is None:
        raise SystemExit(f"{title}: the import does not tell what it has written:\n{said[-2000:]}")
    written, held = int(found[1]), int(found[2])
    count = written or held
    print(f"{title}: {count / seconds:.0f} resources a second ({written} of {held} written in {seconds:.1f} s)")
    each = f", {used / count * 1e6:.0f} us a resource" if count else ""
    print(f"  CPU of all processes {used:.1f} s{each}; load {os.getloadavg()[0]:.1f}")
    tell_processes(seen)


def tell_processes(seen: list[dict[int, Process]]) -> None:
    """The CPU of each process at the end, and its memory on the way."""
    last: dict[int, Process] = {}
    for moment in seen:
        last |= moment
    for pid, process in sorted(last.items(), key=lambda one: one[1].kind):
        alive = [moment[pid] for moment in seen if pid in moment and moment[pid].memory]
        if process.cpu < 0.1 or not alive:  # what multiprocessing keeps for itself
            continue
        memory = [alive[int(part * (len(alive) - 1))].memory for part in (0.25, 0.5, 1)]
        print(f"  {process.kind}: {process.cpu:.1f} s, {' '.join(str(one >> 10) for one in memory)} MiB", flush=True)


@dataclass(frozen=True, slots=True)
class Process:
    """kind: importer, worker or mongod. memory: KiB. cpu: seconds."""

    kind: str
    memory: int
    cpu: float


def watch(running: subprocess.Popen[str], data: Path, seen: list[dict[int, Process]]) -> None:
    """Looks at all processes that take part, again and again."""
    while running.poll() is None:
        seen.append(family(running.pid, data))
        time.sleep(0.3)


def family(session: int, data: Path) -> dict[int, Process]:
    """The processes of a session, and the mongod over the data, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            is_mongod = command.split(b"\0")[0].endswith(b"/mongod") and str(data / "db").encode() in command
            if int(stat[3]) == session or is_mongod:
                kind = "mongod" if is_mongod else "importer" if int(entry.name) == session else "worker"
                memory, cpu = int(stat[21]) * os.sysconf("SC_PAGE_SIZE") >> 10, int(stat[11]) + int(stat[12])
                found[int(entry.name)] = Process(kind, memory, cpu / os.sysconf("SC_CLK_TCK"))
    return found


if __name__ == "__main__":
    main()
