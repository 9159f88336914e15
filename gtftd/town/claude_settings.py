"""Our hooks in Claude Code's user-level `settings.json` (gastown.md 3.2), among whatever else is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gtftd.errors import Busy, GtftdError, Invalid
from gtftd.town.hook_reports import HookChange, HookStatus, refused
from gtftd.town.hook_script import quoted, script_path
from gtftd.town.json_file import JsonObject, JsonValue, read_json_file
from gtftd.town.layout import Town

EVENTS = ("SessionStart", "Stop", "SessionEnd")
TIMEOUT_S = 5
"""Without one, all SessionEnd hooks together get 1.5 s. It also ends a hook whose input never does."""
BACKUP_SUFFIX = ".before-gtftd"
_ATTEMPTS = 5
_REPAIR = "run `gtftctl hooks install`"


def install_claude_hooks(town: Town, state_dir: Path) -> list[HookChange]:
    """Add what is missing to the settings of every account; a second call changes nothing."""
    return [_attempt(_install, path, _command(state_dir)) for path in _settings_files(town)]


def uninstall_claude_hooks(town: Town, state_dir: Path) -> list[HookChange]:
    """Remove our commands, in whatever group they are by now, and nothing else."""
    present = [path for path in _settings_files(town) if path.exists()]
    return [_attempt(_uninstall, path, _command(state_dir)) for path in present]


def verify_claude_hooks(town: Town, state_dir: Path) -> list[HookStatus]:
    found: list[HookStatus] = []
    for path in _settings_files(town):
        try:
            value = read_json_file(path).value
            problems = {event: _problem(value, event, _command(state_dir)) for event in EVENTS}
        except (OSError, GtftdError) as error:
            problems = dict.fromkeys(EVENTS, str(error))
        found += [HookStatus(path, event, not problem, problem) for event, problem in problems.items()]
        found.append(HookStatus(path.with_name("projects"), "link", ok=True, detail=_link_note(path, state_dir)))
    return found


def add_hooks(value: JsonObject, command: str) -> bool:
    """Add a group for each event that lacks our command; tells whether that changed anything.

    Raises Invalid where Claude Code's own shape (event -> groups -> commands) is not kept.
    """
    missing = [event for event in EVENTS if not _is_present(value, event, command)]
    for event in missing:
        hook: JsonObject = {"type": "command", "command": command, "timeout": TIMEOUT_S}
        group: JsonObject = {"matcher": "", "hooks": [hook]}
        _object(value.setdefault("hooks", {}), "hooks")
        _groups(value, event, create=True).append(group)
    return bool(missing)


def remove_hooks(value: JsonObject, command: str, before: JsonObject) -> bool:
    """Remove our commands, and what they leave empty unless it was there `before`; tells of a change."""
    changed = False
    for event in list(_hooks(value)):
        groups = _groups(value, event)
        with_ours = [group for group in groups if _ours(group, command)]
        for group in with_ours:
            commands = _commands(group)
            commands[:] = [hook for hook in commands if not _is_ours(hook, command)]
        emptied = [id(group) for group in with_ours if not _commands(group)]
        groups[:] = [group for group in groups if id(group) not in emptied]  # not by value: theirs may be equal
        changed = changed or bool(with_ours)
        if with_ours and not groups and event not in _hooks(before):
            del _hooks(value)[event]
    if changed and not _hooks(value) and "hooks" not in before:
        del value["hooks"]
    return changed


def _settings_files(town: Town) -> list[Path]:
    """One a configuration directory; accounts that share a file by symlink are one."""
    files = {(folder / "settings.json").resolve(): folder / "settings.json" for folder in town.claude_dirs()}
    return list(files.values())


def _command(state_dir: Path) -> str:
    return f"{quoted(script_path(state_dir))} claude"


def _attempt(act: Callable[[Path, str], HookChange], path: Path, command: str) -> HookChange:
    """Start over when somebody wrote the file meanwhile; refuse what cannot be done safely."""
    for _ in range(_ATTEMPTS):
        try:
            return act(path, command)
        except Busy as error:
            last = refused(path, error)
        except (OSError, GtftdError) as error:
            return refused(path, error)
    return last


def _install(path: Path, command: str) -> HookChange:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = read_json_file(path)
    if not add_hooks(file.value, command):
        return HookChange(path, "kept")
    file.back_up(_backup(path))
    file.replace()
    return HookChange(path, "added", detail=", ".join(EVENTS))


def _uninstall(path: Path, command: str) -> HookChange:
    file, backup = read_json_file(path), _backup(path)
    before = read_json_file(backup).value if backup.exists() else {}
    if not remove_hooks(file.value, command, before):
        return HookChange(path, "kept")
    if not file.value and not backup.exists():
        file.remove()
        return HookChange(path, "removed")
    file.replace()
    if file.value == before:
        backup.unlink(missing_ok=True)
    return HookChange(path, "restored")


def _backup(path: Path) -> Path:
    return path.with_name(path.name + BACKUP_SUFFIX)


def _is_present(value: JsonObject, event: str, command: str) -> bool:
    return any(_ours(group, command) for group in _groups(value, event))


def _ours(group: JsonValue, command: str) -> bool:
    return any(_is_ours(hook, command) for hook in _commands(group))


def _is_ours(hook: JsonValue, command: str) -> bool:
    return isinstance(hook, dict) and hook.get("command") == command


def _hooks(value: JsonObject) -> JsonObject:
    return _object(value.get("hooks", {}), "hooks")


def _groups(value: JsonObject, event: str, *, create: bool = False) -> list[JsonValue]:
    hooks = _hooks(value)
    groups = hooks.setdefault(event, []) if create else hooks.get(event, [])
    if not isinstance(groups, list):
        raise Invalid(f"hooks.{event} is a JSON {type(groups).__name__}, not a list of groups; repair it by hand")
    return groups


def _commands(group: JsonValue) -> list[JsonValue]:
    if not isinstance(group, dict) or not isinstance(group.get("hooks", []), list):
        raise Invalid("a hook group is not an object with a list `hooks`; repair it by hand")
    commands = group.get("hooks", [])
    return commands if isinstance(commands, list) else []


def _object(value: JsonValue, name: str) -> JsonObject:
    if not isinstance(value, dict):
        raise Invalid(f"{name} is a JSON {type(value).__name__}, not an object; repair it by hand")
    return value


def _problem(value: JsonObject, event: str, command: str) -> str:
    if value.get("disableAllHooks") is True:
        return "disableAllHooks is set, so Claude Code runs no hook; remove it"
    groups = [group for group in _groups(value, event) if _ours(group, command)]
    if not groups:
        return _why_absent(value, event)
    matchers = [group.get("matcher", "") for group in groups if isinstance(group, dict)]
    if not any(matcher in ("", "*") for matcher in matchers):
        return f"only runs for the matcher {matchers[0]!r}; move it to a group with an empty matcher"
    return ""


def _why_absent(value: JsonObject, event: str) -> str:
    commands = (hook for group in _groups(value, event) for hook in _commands(group))
    texts = (str(hook.get("command", "")) for hook in commands if isinstance(hook, dict))
    other = next((text for text in texts if "/hooks/gtftd-hook" in text), None)
    return f"our hook is missing; {_REPAIR}" + (f" (there is one of another state directory: {other})" if other else "")


def _link_note(settings: Path, state_dir: Path) -> str:
    """Not wrong, but weaker: hard links do not cross file systems."""
    projects, transcripts = settings.with_name("projects"), state_dir / "spool" / "transcripts"
    try:
        if projects.stat().st_dev == transcripts.stat().st_dev:
            return ""
    except OSError:
        return ""
    return "on another file system than the spool: a transcript that is deleted before it is read is lost"
