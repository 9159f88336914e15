"""gtftctl as an operator types it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-P", "-c", "from gtftd.ctl import main; main()"]


@dataclass(frozen=True)
class Gtftctl:
    """Every command goes to one state directory."""

    state_dir: Path

    def __call__(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("GT_", "GTFTD_", "XDG_"))}
        environ |= {"HOME": str(self.state_dir.parent), "COLUMNS": "200", "TERM": "dumb"}
        return subprocess.run(
            [*COMMAND, *map(str, words), "--state-dir", str(self.state_dir)],
            capture_output=True,
            check=False,
            text=True,
            env=environ,
            cwd=self.state_dir.parent,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    def well(self, *words: str | Path) -> str:
        """Its output; it must end with 0 and complain of nothing."""
        told = self(*words)
        assert (0, "") == (told.returncode, told.stderr), told
        return told.stdout

    def json(self, *words: str | Path) -> Any:
        return json.loads(self.well(*words, "--json"))
