"""The log: one JSON object a line on stderr, without anybody's numbers."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from fhir_server.model.dates import instant
from fhir_server.model.ids import now
from fhir_server.model.personal import without_numbers

_UNTOUCHED = frozenset({"request_id", "timestamp"})


def configure_logs(level: str) -> None:
    """From here on our log and that of the libraries is written alike. level: debug | info | warning | error."""
    least = logging.getLevelNamesMapping()[level.upper()]
    told: list[Processor] = [
        structlog.processors.add_log_level,
        tell_time,
        tell_exception,
        hide_numbers,
    ]
    structlog.configure(
        processors=[*told, structlog.processors.JSONRenderer(serializer=orjson.dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    _configure_libraries(least, told)


def _configure_libraries(least: int, told: list[Processor]) -> None:
    stderr = logging.StreamHandler()
    stderr.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_first_line, *told],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_as_text),
            ],
        )
    )
    logging.basicConfig(level=least, handlers=[stderr], force=True)
    # uvicorn tells every request with its query and pymongo every command with its values: both are people's data.
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("uvicorn", "pymongo", "asyncio"):
        logging.getLogger(name).setLevel(max(least, logging.WARNING))


def _as_text(line: EventDict, **_: object) -> str:
    return orjson.dumps(line, default=str).decode()


def _first_line(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """A structlog processor for lines of libraries: what follows the first line shows values, such as asyncio's own
    `future: <Task … exception=KeyError('Nguyễn')>`."""
    line["event"] = str(line.get("event", "")).partition("\n")[0]
    return line


def tell_exception(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """A structlog processor: of an exception where it came from and of which class it is. What it says may repeat
    anybody's name or number, and is left out."""
    told = line.pop("exc_info", None)
    fault = told[1] if isinstance(told, tuple) else sys.exc_info()[1] if told is True else told
    if isinstance(fault, BaseException):
        line["exception"] = "\n".join(places(fault))
    return line


def places(fault: BaseException) -> Iterator[str]:
    """Where it came from and its class, without what it says; the one that led to it first, as in tracebacks."""
    before = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    if before is not None:
        yield from places(before)
    yield "".join(traceback.format_tb(fault.__traceback__)) + f"{type(fault).__module__}.{type(fault).__qualname__}"
    for one in fault.exceptions if isinstance(fault, BaseExceptionGroup) else ():
        yield from places(one)


def tell_time(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """A structlog processor, as its own TimeStamper at a tenth of the cost."""
    line["timestamp"] = instant(now())
    return line


def hide_numbers(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """A structlog processor: every run of nine or more digits in a text becomes `…`."""
    for name, value in line.items():
        if isinstance(value, str) and len(value) > 8 and name not in _UNTOUCHED:
            line[name] = without_numbers(value)
    return line
