"""Install, remove and check the short prime of a town: the script, gt's settings of each role, gt's overrides."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from gtftd.errors import Busy, GtftdError
from gtftd.town.hook_reports import HookChange, HookStatus, refused
from gtftd.town.layout import Town
from gtftd.town.prime_overrides import Override, gt_folder, install_override, uninstall_override, verify_override
from gtftd.town.prime_script import (
    Known,
    install_prime_script,
    prime_script,
    uninstall_prime_script,
    verify_prime_script,
)
from gtftd.town.prime_settings import (
    RoleSettings,
    install_settings,
    role_settings,
    uninstall_settings,
    uses_script,
    verify_settings,
)

_ATTEMPTS = 5


@dataclass(frozen=True)
class Scope:
    """Which town, from where, and for whom; empty roles and rigs: all."""

    town: Town
    state_dir: Path
    roles: Collection[str] = ()
    rigs: Collection[str] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def script(self) -> Path:
        return prime_script(self.state_dir)

    def files(self) -> list[RoleSettings]:
        return role_settings(self.town, self.roles, self.rigs)

    def override(self, file: RoleSettings) -> Override | None:
        return Override(file, gt_folder(self.environ)) if file.target else None


def install(scope: Scope, known: Known) -> list[HookChange]:
    """The script first, so that nothing ever calls a missing one; safe to repeat and to be killed anywhere.

    A file that cannot be changed safely is left as it is and reported with `ok=False`; the others are still done.
    """
    changes = install_prime_script(scope.state_dir, known)
    for file in scope.files():
        done = _attempt(file.path, partial(install_settings, file, scope.script))
        changes.append(done)
        override = scope.override(file)
        if override is not None and done.ok and file.path.exists():
            changes.append(_attempt(override.path, partial(install_override, override, scope.script)))
    return changes


def uninstall(scope: Scope) -> list[HookChange]:
    """What gt had, in every file that calls the script; the script goes when none does any more."""
    changes = []
    for file in scope.files():
        changes.append(_attempt(file.path, partial(uninstall_settings, file)))
        override = scope.override(file)
        if override is not None and override.path.exists():
            changes.append(_attempt(override.path, partial(uninstall_override, override)))
    if all(change.ok for change in changes) and not _is_used(scope):
        changes += uninstall_prime_script(scope.state_dir)
    return changes


def verify(scope: Scope, known: Known) -> list[HookStatus]:
    """Each place, and which prime agents get by it; changes nothing."""
    found: list[HookStatus] = []
    for file in scope.files():
        try:
            status = verify_settings(file, scope.script)
            found.append(status)
            override = scope.override(file)
            if override is not None and file.path.exists() and uses_script(file):
                found.append(verify_override(override, scope.script))
        except (OSError, GtftdError) as error:
            found.append(HookStatus(file.path, file.who, ok=False, detail=str(error)))
    return [*verify_prime_script(scope.state_dir, known), *found] if _is_used(scope) else found


def _is_used(scope: Scope) -> bool:
    """Does any settings file of the town call a script of ours? One that cannot be read may."""
    for file in role_settings(scope.town):
        try:
            if uses_script(file):
                return True
        except (OSError, GtftdError):
            return True
    return False


def _attempt(path: Path, act: Callable[[], HookChange]) -> HookChange:
    """Start over when somebody wrote the file meanwhile; refuse what cannot be done safely."""
    for _ in range(_ATTEMPTS):
        try:
            return act()
        except Busy as error:
            last = refused(path, error)
        except (OSError, GtftdError) as error:
            return refused(path, error)
    return last
