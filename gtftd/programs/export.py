"""Exports one model in a process of its own: `python -P -m gtftd.programs.export` with an ExportOrder as JSON on its
standard input. Prints the ExportRecord as JSON, or what was wrong; exit 0 or 1.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path

from gtftd import logs
from gtftd.errors import Conflict, GtftdError
from gtftd.schemas.training import ExportOrder, ExportRecord
from gtftd.state.files import fsync_folder

_NICE = 10


def main() -> int:
    """The exit code; see above."""
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    told = sys.stdout
    sys.stdout = sys.stderr  # libraries may print; the answer stands alone
    logs.configure("error")
    try:
        record = export(ExportOrder.model_validate_json(sys.stdin.read()))
    except GtftdError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}), file=told)
        return 1
    except KeyboardInterrupt:
        return 130
    print(record.model_dump_json(), file=told)
    return 0


def export(order: ExportOrder) -> ExportRecord:
    """Whole at its place, or not there. What a kill left beside it, the next one deletes or takes up."""
    from gtftd.training.export import Exporter, Source

    to = Path(order.to)
    checkout = Path(order.llama_cpp_dir) if order.llama_cpp_dir else None
    source = Source(Path(order.base), tuple(map(Path, order.adapters)), order.name, checkout, order.threads)
    beside = to.with_name(f".{to.name}.export")
    try:
        record = Exporter(source, beside, lambda: None).make(order.form)
        if os.path.lexists(to):
            raise Conflict(f"{to} is there already; name another place, or delete it")
        (beside / order.form / record.file).rename(to)
        fsync_folder(to.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return record


if __name__ == "__main__":
    sys.exit(main())
