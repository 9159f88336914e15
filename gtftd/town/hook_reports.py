"""What installing the hooks did, and what verifying them found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class HookChange:
    """One file that `install` or `uninstall` looked at; `ok` is false where it was left as it is."""

    path: Path
    what: Literal["written", "added", "kept", "chained", "removed", "restored", "refused"]
    ok: bool = True
    detail: str = ""


@dataclass(frozen=True)
class HookStatus:
    """One thing that must be right for facts to arrive; `detail` says what to do when it is not."""

    path: Path
    what: str
    ok: bool
    detail: str = ""


def refused(path: Path, error: Exception) -> HookChange:
    return HookChange(path, "refused", ok=False, detail=str(error))
