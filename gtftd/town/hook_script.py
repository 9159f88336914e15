"""The hook script on disk: `<state>/hooks/gtftd-hook`, the same bytes as in this package."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from importlib import resources
from pathlib import Path

from gtftd.state.files import fsync_folder, write_atomic
from gtftd.town.hook_reports import HookChange, HookStatus
from gtftd.town.layout import Town
from gtftd.town.spool import Spool

_REPAIR = "run `gtftctl hooks install`"


def script_path(state_dir: Path) -> Path:
    return state_dir.absolute() / "hooks" / "gtftd-hook"


def script_content() -> bytes:
    return resources.files("gtftd.town").joinpath("gtftd-hook.sh").read_bytes()


def quoted(path: Path) -> str:
    """As one word for a POSIX shell, whatever the path holds."""
    return "'" + str(path).replace("'", "'\\''") + "'"


def install_script(town: Town, state_dir: Path) -> list[HookChange]:
    """Write script, town marker and spool; a second call repairs whatever differs."""
    Spool(state_dir.absolute() / "spool").ensure()
    script, marker = script_path(state_dir), _marker(state_dir)
    script.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = {script: (script_content(), 0o755), marker: (_marker_content(town), 0o600)}
    changes = []
    for path, (content, mode) in wanted.items():
        if _read(path) == content and path.stat().st_mode & 0o777 == mode:
            changes.append(HookChange(path, "kept"))
            continue
        write_executable(path, content) if mode == 0o755 else write_atomic(path, content)
        changes.append(HookChange(path, "written"))
    return changes


def uninstall_script(state_dir: Path) -> list[HookChange]:
    """Remove script and marker; the spool stays, the daemon may not have read it yet."""
    changes = []
    for path in (script_path(state_dir), _marker(state_dir)):
        if path.exists():
            path.unlink()
            fsync_folder(path.parent)
            changes.append(HookChange(path, "removed"))
    with contextlib.suppress(OSError):
        script_path(state_dir).parent.rmdir()
    return changes


def verify_script(town: Town, state_dir: Path) -> list[HookStatus]:
    script, marker, spool = script_path(state_dir), _marker(state_dir), Spool(state_dir.absolute() / "spool")
    return [
        HookStatus(script, "script", *_script_problem(script)),
        HookStatus(marker, "town", *_marker_problem(marker, town)),
        HookStatus(spool.root, "spool", *_spool_problem(spool)),
    ]


def write_executable(path: Path, content: bytes) -> None:
    """Whole, durable and executable from the first moment that it can be seen under its name."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    write_atomic(aside, content)
    try:
        aside.chmod(0o755)
        aside.rename(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def _marker(state_dir: Path) -> Path:
    """Names the town, so that the hook passes over agents of another one."""
    return script_path(state_dir).with_name("town")


def _marker_content(town: Town) -> bytes:
    return os.fsencode(town.root.resolve()) + b"\n"


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _script_problem(script: Path) -> tuple[bool, str]:
    content = _read(script)
    if content is None:
        return False, f"is missing; {_REPAIR}"
    if content != script_content():
        found, wanted = (hashlib.sha256(one).hexdigest()[:12] for one in (content, script_content()))
        return False, f"is not the script of this gtftd (sha256 {found}, not {wanted}); {_REPAIR}"
    if not os.access(script, os.X_OK):
        return False, f"cannot be executed (mode, or a file system mounted noexec); {_REPAIR}"
    return True, ""


def _marker_problem(marker: Path, town: Town) -> tuple[bool, str]:
    if _read(marker) == _marker_content(town):
        return True, ""
    return False, f"does not name the town {town.root}; {_REPAIR}"


def _spool_problem(spool: Spool) -> tuple[bool, str]:
    """Writes and removes a file in each folder that the hook writes to."""
    for folder in (spool.tmp, spool.new, spool.transcripts):
        probe = folder / f".probe-{secrets.token_hex(6)}"
        try:
            probe.write_bytes(b"probe\n")
            probe.unlink()
        except OSError as error:
            probe.unlink(missing_ok=True)
            return (
                False,
                f"cannot be written to ({folder.name}: {error.strerror}), so hooks lose what they saw",
            )
    return True, ""
