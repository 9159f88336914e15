"""Exporting by a child, which may load what we must not."""

from __future__ import annotations

from gtftd.schemas.training import ExportOrder, ExportRecord
from gtftd.training.asking import ask, threads_of

PROGRAM = "gtftd.programs.export"


def export_in_child(order: ExportOrder) -> ExportRecord:
    """Raises what the child found wrong, in its words."""
    told = ask(PROGRAM, order.model_dump_json(), task="exported", environ=threads_of(order.threads))
    return ExportRecord.model_validate(told)
