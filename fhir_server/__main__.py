"""The program: `fhir-server` and `python -m fhir_server`."""

from __future__ import annotations

import sys

from fhir_server.cli.commands import app
from fhir_server.cli.faults import CannotRun


def main() -> None:
    """Runs the command line; a CannotRun becomes its sentence on stderr and its exit code."""
    try:
        app(prog_name="fhir-server")
    except CannotRun as fault:
        print(f"fhir-server: {fault}", file=sys.stderr)
        sys.exit(fault.code)


if __name__ == "__main__":
    main()
