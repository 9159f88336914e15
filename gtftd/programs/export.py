"""Exports one model in a process of its own: `python -P -m gtftd.programs.export` with an ExportOrder as JSON on its
standard input. Prints the ExportRecord as JSON, or what was wrong; exit 0 or 1.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from gtftd import logs
from gtftd.errors import Conflict, GtftdError, Invalid
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
        with _held(beside):
            record = Exporter(source, beside, lambda: None).make(order.form)
            if os.path.lexists(to):
                raise Conflict(f"{to} is there already; name another place, or delete it")
            (beside / order.form / record.file).rename(to)
            fsync_folder(to.parent)
    except OSError as error:
        raise Invalid(f"{to} cannot be made: {error}") from error
    return record


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Ours alone, and gone behind us. Raises Conflict while another process makes the same there."""
    folder.mkdir(exist_ok=True, mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another process makes the same in {folder} just now; wait for it") from None
        try:
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
