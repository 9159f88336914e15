"""Our script in the settings files that gt makes for its roles (gastown.md 3.1), before gt's own prime."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from gtftd.errors import Invalid
from gtftd.town.hook_groups import Command, commands
from gtftd.town.hook_reports import HookChange, HookStatus
from gtftd.town.hook_script import quoted
from gtftd.town.json_file import JsonObject, read_json_file
from gtftd.town.layout import Town
from gtftd.town.prime_command import TRAP, is_prime, spell, unspell, unwrap, wrap, wrapped_by

EVENTS = ("SessionStart", "PreCompact")
BACKUP_SUFFIX = ".before-gtftd-prime"
REPAIR = "run `gtftctl prime install`"
_FOLDERS = {"crew": "crew", "polecat": "polecats", "witness": "witness", "refinery": "refinery"}


@dataclass(frozen=True)
class RoleSettings:
    """One file; `target` is gt's name for it in its overrides, None where gt knows no override."""

    path: Path
    role: str
    rig: str | None = None
    target: str | None = None

    @property
    def who(self) -> str:
        return f"{self.rig}/{self.role}" if self.rig else self.role

    @property
    def backup(self) -> Path:
        return self.path.with_name(self.path.name + BACKUP_SUFFIX)


def role_settings(town: Town, roles: Collection[str] = (), rigs: Collection[str] = ()) -> list[RoleSettings]:
    """Of these roles and rigs, empty: all. Roles of the town belong to no rig, and are out when rigs are named."""
    return [
        one
        for one in _all(town)
        if (not roles or one.role in roles) and (not rigs or (one.rig is not None and one.rig in rigs))
    ]


def _all(town: Town) -> Iterator[RoleSettings]:
    inside = Path(".claude") / "settings.json"
    for role in ("mayor", "deacon"):
        yield RoleSettings(town.root / role / inside, role, None, role)
    for path in sorted((town.root / "deacon" / "dogs").glob(f"*/{inside}")):
        yield RoleSettings(path, "boot" if path.parents[1].name == "boot" else "dog")
    for rig in town.rigs:
        for role, folder in _FOLDERS.items():
            yield RoleSettings(rig.path / folder / inside, role, rig.name, f"{rig.name}/{folder}")


def install_settings(file: RoleSettings, script: Path) -> HookChange:
    """Put the script before gt's prime, and respell what would make gt write the file anew."""
    found = read_json_file(file.path)
    if found.raw is None:
        return HookChange(file.path, "kept", detail=f"gt has made no settings for {file.who} yet; install again then")
    hooks = found.value.get("hooks", {})
    was_installed = any(wrapped_by(command.text) for command in commands(hooks))
    if not _primes(hooks):
        raise Invalid(f"{file.path} has no `gt prime --hook` in SessionStart in a form that is known; left as it is")
    changed = [command.set(_installed(command, script)) for command in commands(hooks)]
    if not any(changed):
        return HookChange(file.path, "kept")
    if not was_installed:
        file.backup.unlink(missing_ok=True)
        found.back_up(file.backup)
    found.replace()
    return HookChange(file.path, "added", detail=", ".join(event for event in EVENTS if event in _object(hooks)))


def uninstall_settings(file: RoleSettings) -> HookChange:
    """What gt had there, byte for byte where nothing else changed since."""
    found = read_json_file(file.path)
    hooks = found.value.get("hooks", {})
    if found.raw is None or not any(wrapped_by(command.text) for command in commands(hooks)):
        file.backup.unlink(missing_ok=True)
        return HookChange(file.path, "kept")
    backup = read_json_file(file.backup)
    before = {command.text for command in commands(backup.value.get("hooks", {}))}
    for command in commands(hooks):
        command.set(_uninstalled(command.text, before))
    if backup.raw is not None and found.value == backup.value:
        found.put_back(backup.raw)
    else:
        found.replace()
    file.backup.unlink(missing_ok=True)
    return HookChange(file.path, "restored")


def verify_settings(file: RoleSettings, script: Path) -> HookStatus:
    """Which prime agents of this role get by this file, and for how long."""
    found = read_json_file(file.path)
    if found.raw is None:
        return HookStatus(file.path, file.who, ok=True, detail="full prime: gt has made no settings for it yet")
    starts = [command for command in commands(found.value.get("hooks", {})) if command.event == "SessionStart"]
    scripts = {one for command in starts for one in wrapped_by(command.text)}
    if not scripts and file.backup.exists():
        return HookStatus(file.path, file.who, ok=False, detail=f"full prime: the file was written anew; {REPAIR}")
    if not scripts:
        return HookStatus(file.path, file.who, ok=True, detail="full prime: not installed")
    if scripts != {quoted(script)}:
        return HookStatus(file.path, file.who, ok=False, detail=f"calls {', '.join(sorted(scripts))}; {REPAIR}")
    if found.value.get("disableAllHooks") is True:
        told = "full prime, and no other hook: disableAllHooks is set; remove it"
        return HookStatus(file.path, file.who, ok=False, detail=told)
    if TRAP.encode() in found.raw:
        told = f"gt writes this file anew at the next start, because `{TRAP}` is in it, and that agent then gets the"
        return HookStatus(file.path, file.who, ok=False, detail=f"{told} full prime; {REPAIR}")
    return HookStatus(file.path, file.who, ok=True)


def uses_script(file: RoleSettings) -> bool:
    hooks = read_json_file(file.path).value.get("hooks", {})
    return any(wrapped_by(command.text) for command in commands(hooks))


def _installed(command: Command, script: Path) -> str:
    text = wrap(command.text, script) if command.event in EVENTS else command.text
    return spell(text)


def _uninstalled(text: str, before: Collection[str]) -> str:
    """As it was; without a backup that has it, every spelling of ours is turned back."""
    plain = unwrap(text)
    if plain in before:
        return plain
    return unspell(plain)


def _primes(hooks: object) -> bool:
    value = hooks if isinstance(hooks, dict) else {}
    return any(is_prime(command.text) for command in commands(value) if command.event == "SessionStart")


def _object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}
