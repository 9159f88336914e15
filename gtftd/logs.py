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
    """JSON lines to `file` (rotated at 16 MiB, five kept); to standard error, pretty on a terminal."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handlers: list[logging.Handler] = []
    if console:
        terminal = logging.StreamHandler(sys.stderr)
        pretty = sys.stderr.isatty()
        terminal.setFormatter(_formatter(structlog.dev.ConsoleRenderer() if pretty else _json(), shared))
        handlers.append(terminal)
    if file is not None:
        rotating = logging.handlers.RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=LOG_FILES)
        rotating.setFormatter(_formatter(_json(), shared))
        handlers.append(rotating)
    logging.raiseExceptions = False  # a full disk costs lines of the log, not pages of tracebacks
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("gtftd").setLevel(level.upper())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: logging.getLogger("gtftd"),
        cache_logger_on_first_use=False,
    )


def _json() -> Processor:
    return structlog.processors.JSONRenderer()


def _formatter(renderer: Processor, shared: list[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
