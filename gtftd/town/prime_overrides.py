"""Our script in gt's own overrides (gastown.md 3.2), so that `gt hooks sync` writes it into the settings again."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gtftd.town.hook_groups import commands, groups_of, matcher_of
from gtftd.town.hook_reports import HookChange, HookStatus
from gtftd.town.hook_script import quoted
from gtftd.town.json_file import JsonObject, JsonValue, read_json_file
from gtftd.town.prime_command import is_prime, spell, unspell, unwrap, wrap, wrapped_by
from gtftd.town.prime_settings import BACKUP_SUFFIX, EVENTS, REPAIR, RoleSettings

_BUILT_IN = {("crew", "PreCompact")}
"""gt's own overrides that replace a prime by something else: `gt handoff --cycle` for the crew."""


@dataclass(frozen=True)
class Override:
    """What gt lays over its base for one role of one rig, or of the town."""

    settings: RoleSettings
    folder: Path
    """gt's own, `$GT_HOME/.gt` or `~/.gt`."""

    @property
    def path(self) -> Path:
        return self.folder / "hooks-overrides" / f"{str(self.settings.target).replace('/', '__')}.json"

    @property
    def backup(self) -> Path:
        return self.path.with_name(self.path.name + BACKUP_SUFFIX)

    def weaker(self) -> list[Path]:
        """What gt would take where this file says nothing, the strongest first."""
        _, slash, role = str(self.settings.target).partition("/")
        of_role = [self.folder / "hooks-overrides" / f"{role}.json"] if slash else []
        return [*of_role, self.folder / "hooks-base.json"]


def gt_folder(environ: Mapping[str, str] = os.environ) -> Path:
    return Path(environ.get("GT_HOME") or environ.get("HOME") or Path.home()) / ".gt"


def install_override(override: Override, script: Path) -> HookChange:
    """An entry for each event whose prime gt would write; with that role's other commands, as gt's merge needs."""
    found = read_json_file(override.path)
    was_installed = any(wrapped_by(command.text) for command in commands(found.value))
    before = copy.deepcopy(found.value)
    for event, group in _wanted(override, found.value):
        _put(found.value, event, _behind(group, script))
    if found.value == before:
        return HookChange(override.path, "kept")
    override.path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    if not was_installed:
        override.backup.unlink(missing_ok=True)
        found.back_up(override.backup)
    found.replace()
    return HookChange(override.path, "added", detail="so that `gt hooks sync` keeps it")


def uninstall_override(override: Override) -> HookChange:
    """What was there before: entries that were ours alone go, and so does the file when nothing else is in it."""
    found, backup = read_json_file(override.path), read_json_file(override.backup)
    if any(wrapped_by(command.text) for command in commands(found.value)):
        for event in list(found.value):
            _take(found.value, event, backup.value)
        if not found.value and backup.raw is None:
            found.remove()
        elif backup.raw is not None and found.value == backup.value:
            found.put_back(backup.raw)
        else:
            found.replace()
        what = HookChange(override.path, "restored" if backup.raw is not None else "removed")
    else:
        what = HookChange(override.path, "kept")
    override.backup.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # only an empty folder goes
        override.path.parent.rmdir()
    return what


def verify_override(override: Override, script: Path) -> HookStatus:
    """Whether `gt hooks sync` would keep what the settings have."""
    what = f"override {override.settings.target}"
    found = read_json_file(override.path)
    scripts = {one for command in commands(found.value) for one in wrapped_by(command.text)}
    if scripts == {quoted(script)}:
        return HookStatus(override.path, what, ok=True)
    problem = (
        f"calls {', '.join(sorted(scripts))}" if scripts else "is missing, so `gt hooks sync` takes our script out"
    )
    return HookStatus(override.path, what, ok=False, detail=f"{problem}; {REPAIR}")


def _wanted(override: Override, own: JsonObject) -> list[tuple[str, JsonObject]]:
    """The groups that gt would write for this role and that prime: from the strongest file that has the matcher."""
    settings = read_json_file(override.settings.path).value.get("hooks", {})
    weaker = [read_json_file(path).value for path in override.weaker()]
    wanted = []
    for event in EVENTS:
        primes = [group for group in _groups(settings, event) if _has_prime(group)]
        for group in primes:
            sources = [_with_matcher(one, event, matcher_of(group)) for one in (own, *weaker)]
            said = next((one for one in sources if one is not None), None)
            if said is None and (override.settings.role, event) in _BUILT_IN:
                continue
            if _has_prime(said or group):
                wanted.append((event, said or group))
    return wanted


def _behind(group: JsonObject, script: Path) -> JsonObject:
    ours = copy.deepcopy(group)
    for command in commands({"": [ours]}):
        command.set(spell(wrap(command.text, script)))
    return ours


def _has_prime(group: JsonObject) -> bool:
    return any(is_prime(command.text) for command in commands({"": [group]}))


def _groups(hooks: JsonValue, event: str) -> list[JsonObject]:
    return groups_of(hooks.get(event, []), event) if isinstance(hooks, dict) else []


def _with_matcher(hooks: JsonObject, event: str, matcher: str) -> JsonObject | None:
    return next((group for group in _groups(hooks, event) if matcher_of(group) == matcher), None)


def _put(hooks: JsonObject, event: str, group: JsonObject) -> None:
    """In the place of the entry with the same matcher, or at the end."""
    groups = _groups(hooks, event)
    places = [place for place, one in enumerate(groups) if matcher_of(one) == matcher_of(group)]
    if places:
        groups[places[0]] = group
    else:
        groups.append(group)
    hooks[event] = list(groups)


def _take(hooks: JsonObject, event: str, before: JsonObject) -> None:
    kept: list[JsonValue] = []
    for group in _groups(hooks, event):
        ours = any(wrapped_by(command.text) for command in commands({"": [group]}))
        if ours and _with_matcher(before, event, matcher_of(group)) is None:
            continue
        if ours:
            _turn_back(group, before, event)
        kept.append(group)
    if kept or event in before:
        hooks[event] = kept
    else:
        del hooks[event]


def _turn_back(group: JsonObject, before: JsonObject, event: str) -> None:
    known = {command.text for command in commands({event: list(_groups(before, event))})}
    for command in commands({"": [group]}):
        plain = unwrap(command.text)
        command.set(plain if plain in known else unspell(plain))
