"""Builds a snapshot in a process of its own: `python -m gtftd.programs.snapshot STATE_DIR [--role R] [--rig R]`.

Prints one line of JSON for each stage, and the manifest last. Exit 0 when it exists and is ready, 3 when it exists
and is not, 1 when there is none.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from gtftd import logs
from gtftd.corpus.snapshot import build_snapshot
from gtftd.errors import GtftdError
from gtftd.settings import load_settings

NOT_READY = 3
_EVERY_S = 0.5


def main(arguments: list[str] | None = None) -> int:
    """The exit code; see above."""
    options = _parse(arguments)
    logs.configure(options.log_level, console=False, file=_log_file(options.state_dir))
    try:
        settings = load_settings(options.config)
        manifest = build_snapshot(
            options.state_dir, settings, role=options.role, rig=options.rig, progress=Teller().tell
        )
    except GtftdError as error:
        print(f"gtftd snapshot: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(manifest.model_dump_json(), flush=True)  # noqa: T201
    return 0 if manifest.ready else NOT_READY


def _log_file(state_dir: Path) -> Path | None:
    """Beside the daemon's own; nowhere where there is no state."""
    if not state_dir.is_dir():
        return None
    (state_dir / "logs").mkdir(exist_ok=True, mode=0o700)
    return state_dir / "logs" / "snapshot.log"


class Teller:
    """Prints progress, not more often than anybody can read."""

    def __init__(self) -> None:
        self._stage = ""
        self._at = 0.0

    def tell(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self._stage or now - self._at >= _EVERY_S:
            self._stage, self._at = stage, now
            print(json.dumps({"stage": stage, "done": done, "total": total}), flush=True)  # noqa: T201


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gtftd-snapshot", description=__doc__)
    parser.add_argument("state_dir", type=Path, help="the daemon's state directory")
    parser.add_argument("--role", help="only entries of this role")
    parser.add_argument("--rig", help="entries of this rig, and of rigs that share")
    parser.add_argument("--config", type=Path, help="the configuration, as the daemon reads it")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
