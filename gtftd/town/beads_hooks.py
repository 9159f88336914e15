"""Our beads hooks, `.beads/hooks/on_*` (gastown.md 3.5), in front of what was there."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gtftd.errors import Conflict
from gtftd.state.crash import crash_point
from gtftd.state.files import fsync_folder
from gtftd.town.hook_reports import HookChange, HookStatus, refused
from gtftd.town.hook_script import quoted, script_path, write_executable
from gtftd.town.layout import Town

EVENTS = {"on_create": "create", "on_update": "update", "on_close": "close"}
_MARK = "# gtftd beads hook, format 1\n"
_NO_HOOKS = re.compile(rb"^no-hooks:\s*[\"']?(true|yes|on|1)\b", re.MULTILINE | re.IGNORECASE)
_SUFFIX = ".before-gtftd"
_REPAIR = "run `gtftctl hooks install`"
_Act = Callable[["_Hook"], HookChange]


@dataclass(frozen=True)
class _Hook:
    path: Path
    event: str
    script: Path

    @property
    def previous(self) -> Path:
        """Somebody else's hook, which ours calls with the same arguments and input."""
        return self.path.with_name(self.path.name + _SUFFIX)

    @property
    def content(self) -> bytes:
        return (
            "#!/bin/sh\n"
            + _MARK
            + f"gtftd={quoted(self.script)}\n"
            + f'[ ! -x "$gtftd" ] || "$gtftd" bead "$1" {self.event} </dev/null >/dev/null 2>&1 || :\n'
            + f'[ ! -x "$0{_SUFFIX}" ] || exec "$0{_SUFFIX}" "$@"\n'
            + "exit 0\n"
        ).encode(errors="surrogateescape")


def install_beads_hooks(town: Town, state_dir: Path) -> list[HookChange]:
    """Put ours first and keep theirs behind it; a second call changes nothing."""
    return [_attempt(_install, hook) for hook in _hooks(town, state_dir)]


def uninstall_beads_hooks(town: Town, state_dir: Path) -> list[HookChange]:
    """Give theirs its name back, or remove ours; a hook that is not ours is left alone."""
    hooks = _hooks(town, state_dir)
    for hook in hooks:
        _drop_second_name(hook)
    changes = [_attempt(_uninstall, hook) for hook in hooks if _is_ours(hook.path)]
    for change in changes:
        with contextlib.suppress(OSError):  # only an empty folder goes
            change.path.parent.rmdir()
    return changes


def verify_beads_hooks(town: Town, state_dir: Path) -> list[HookStatus]:
    return [
        HookStatus(hook.path, f"bead {hook.event}", not problem, problem)
        for hook in _hooks(town, state_dir)
        for problem in [_problem(hook)]
    ]


def _hooks(town: Town, state_dir: Path) -> list[_Hook]:
    """Of the town and of each rig whose beads exist; rigs may share a folder by redirect."""
    folders = [town.beads_dir, *(rig.beads_dir for rig in town.rigs)]
    existing = dict.fromkeys(folder.resolve() for folder in folders if folder.is_dir())
    return [
        _Hook(folder / "hooks" / name, event, script_path(state_dir))
        for folder in existing
        for name, event in EVENTS.items()
    ]


def _attempt(act: _Act, hook: _Hook) -> HookChange:
    try:
        return act(hook)
    except (OSError, Conflict) as error:
        return refused(hook.path, error)


def _install(hook: _Hook) -> HookChange:
    hook.path.parent.mkdir(mode=0o755, exist_ok=True)
    if _is_ours(hook.path):
        if hook.path.read_bytes() == hook.content and os.access(hook.path, os.X_OK):
            return HookChange(hook.path, "kept")
        write_executable(hook.path, hook.content)
        return HookChange(hook.path, "written")
    if not os.path.lexists(hook.path):
        _refuse_leftover(hook)
        write_executable(hook.path, hook.content)
        return HookChange(hook.path, "written")
    _keep_previous(hook)
    crash_point("beads_hook.linked")
    write_executable(hook.path, hook.content)
    return HookChange(hook.path, "chained", detail=f"the hook that was there runs after ours, as {hook.previous.name}")


def _keep_previous(hook: _Hook) -> None:
    """Give theirs a second name first: killed before the rename, theirs still runs under its own."""
    try:
        hook.previous.hardlink_to(hook.path)
    except FileExistsError:
        same = hook.previous.lstat().st_ino == hook.path.lstat().st_ino
        if not same:  # not from an install that was killed between link and rename
            _refuse_leftover(hook)
    fsync_folder(hook.path.parent)


def _drop_second_name(hook: _Hook) -> None:
    """Undo an install that was killed between link and rename."""
    with contextlib.suppress(OSError):
        if hook.previous.lstat().st_ino == hook.path.lstat().st_ino:
            hook.previous.unlink()


def _refuse_leftover(hook: _Hook) -> None:
    if os.path.lexists(hook.previous):
        raise Conflict(
            f"{hook.previous} is there although {hook.path.name} is not ours: somebody replaced our hook; "
            "decide which of the two shall run, delete the other one, and install again"
        )


def _uninstall(hook: _Hook) -> HookChange:
    if os.path.lexists(hook.previous):
        hook.previous.rename(hook.path)
        what = HookChange(hook.path, "restored")
    else:
        hook.path.unlink()
        what = HookChange(hook.path, "removed")
    fsync_folder(hook.path.parent)
    return what


def _is_ours(path: Path) -> bool:
    try:
        return path.read_bytes().startswith(b"#!/bin/sh\n" + _MARK.encode())
    except OSError:
        return False


def _problem(hook: _Hook) -> str:
    if not os.path.lexists(hook.path):
        return f"is missing; {_REPAIR}"
    if not _is_ours(hook.path):
        return f"is somebody else's now; {_REPAIR} to put ours in front of it"
    if not os.access(hook.path, os.X_OK):
        return f"cannot be executed, so bd passes over it; {_REPAIR}"
    if problem := _content_problem(hook):
        return f"{problem}; {_REPAIR}"
    if _is_switched_off(hook):
        return "bd runs no hooks: .beads/config.yaml sets `no-hooks`; remove that, or live with the slower poller"
    return ""


def _content_problem(hook: _Hook) -> str:
    content = hook.path.read_bytes()
    if f"gtftd={quoted(hook.script)}\n".encode(errors="surrogateescape") not in content:
        return f"serves another state directory than {hook.script.parents[1]}"
    if content != hook.content:
        return "was altered"
    return "" if hook.script.exists() else f"calls {hook.script}, which is missing"


def _is_switched_off(hook: _Hook) -> bool:
    try:
        return bool(_NO_HOOKS.search((hook.path.parents[1] / "config.yaml").read_bytes()))
    except OSError:
        return False
