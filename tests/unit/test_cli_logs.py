"""The log is JSON, a line an event, and holds nobody's numbers."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging
import structlog
from fhir_server.cli.logs import configure_logs
configure_logs("info")
structlog.get_logger("fhir").info("request", path="/fhir/Patient/038085000123", request_id="123456789012", ms=1.5)
structlog.get_logger("fhir").debug("not told at this level")
logging.getLogger("some.library").warning("no %s here", "038085000123")
logging.getLogger("pymongo.command").info("find {'identifier': '038085000123'}")
logging.getLogger("uvicorn.access").info("GET /fhir/Patient?identifier=038085000123")
try:
    try:
        {}["Nguyễn Văn An"]
    except KeyError as fault:
        raise ValueError("038085000123 is no date") from fault
except ValueError as fault:
    structlog.get_logger("fhir").error("unexpected error", exc_info=True)
    structlog.get_logger("fhir").error("unexpected error", exc_info=fault)
    logging.getLogger("some.library").exception("failed")
    logging.getLogger("asyncio").error("never retrieved\\nfuture: <Task %r>", fault, exc_info=fault)
"""


def lines() -> list[dict[str, object]]:
    """Logging is set up for a whole process, so the test gives it one."""
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert run.stdout == ""
    return [json.loads(line) for line in run.stderr.splitlines()]


def test_our_log_and_that_of_libraries_are_json_lines_without_personal_numbers() -> None:
    request, library, *_ = lines()
    assert (request["event"], request["level"], request["path"]) == ("request", "info", "/fhir/Patient/…")
    assert (request["request_id"], request["ms"]) == ("123456789012", 1.5)
    assert (library["event"], library["level"]) == ("no … here", "warning")
    assert all("timestamp" in line for line in (request, library))


def test_of_an_exception_the_place_and_the_class_are_told_and_not_what_it_says() -> None:
    faults = lines()[2:]
    assert faults[-1]["event"] == "never retrieved"
    for fault in faults:
        told = str(fault["exception"])
        assert told.splitlines()[-1] == "builtins.ValueError"
        assert told.index("builtins.KeyError") < told.index("builtins.ValueError")
        assert "line 1" in told
        assert "Nguyễn" not in told.replace('{}["Nguyễn Văn An"]', "")
        assert "is no date" not in told
