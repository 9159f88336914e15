"""Logging: structlog, one line a unit of work, to standard error and to a rotating file."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor

LOG_BYTES = 16 * 1024 * 1024
LOG_FILES = 5


def get_logger(room: str) -> FilteringBoundLogger:
    """A logger that names its room; event names are `noun.past_participle`."""
    logger: FilteringBoundLogger = structlog.get_logger(room=room)
    return logger


def configure(level: str = "info", file: Path | None = None, *, console: bool = True) -> None:
    """JSON lines to `file` (rotated at 16 MiB, five kept) and to standard error; pretty there on a terminal."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    pretty = console and sys.stderr.isatty()
    handlers: list[logging.Handler] = []
    if console:
        terminal = logging.StreamHandler(sys.stderr)
        terminal.setFormatter(_formatter(structlog.dev.ConsoleRenderer(), shared) if pretty else _Lines(shared))
        handlers.append(terminal)
    if file is not None:
        rotating = logging.handlers.RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=LOG_FILES)
        rotating.setFormatter(_formatter(structlog.processors.JSONRenderer(), shared) if pretty else _Lines(shared))
        handlers.append(rotating)
    logging.raiseExceptions = False  # a full disk costs lines of the log, not pages of tracebacks
    _replace_handlers(handlers)
    logging.getLogger("gtftd").setLevel(level.upper())
    last = structlog.stdlib.ProcessorFormatter.wrap_for_formatter if pretty else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: logging.getLogger("gtftd"),
        cache_logger_on_first_use=False,
    )


class _Lines(logging.Formatter):
    """Our own records are JSON already; those of libraries become it. Handlers format a record twice: keep it cheap."""

    def __init__(self, shared: list[Processor]) -> None:
        super().__init__()
        self._foreign = _formatter(structlog.processors.JSONRenderer(), shared)

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if record.name == "gtftd" else self._foreign.format(record)


def _replace_handlers(handlers: list[logging.Handler]) -> None:
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.WARNING)


def _formatter(renderer: Processor, shared: list[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
