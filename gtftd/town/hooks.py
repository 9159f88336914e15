"""Install, remove and check the hooks of a town: the script, Claude Code's settings, the beads hooks."""

from __future__ import annotations

from pathlib import Path

from gtftd.town.beads_hooks import install_beads_hooks, uninstall_beads_hooks, verify_beads_hooks
from gtftd.town.claude_settings import install_claude_hooks, uninstall_claude_hooks, verify_claude_hooks
from gtftd.town.hook_reports import HookChange, HookStatus
from gtftd.town.hook_script import install_script, script_path, uninstall_script, verify_script
from gtftd.town.layout import Town

__all__ = ["HookChange", "HookStatus", "install", "script_path", "uninstall", "verify"]


def install(town: Town, state_dir: Path) -> list[HookChange]:
    """Put every hook where it survives; the script first, so that nothing ever calls a missing one.

    Safe to repeat, and to be killed anywhere. A file that cannot be changed safely is left as it
    is and reported with `ok=False`; the others are still done.
    """
    return [
        *install_script(town, state_dir),
        *install_claude_hooks(town, state_dir),
        *install_beads_hooks(town, state_dir),
    ]


def uninstall(town: Town, state_dir: Path) -> list[HookChange]:
    """Remove what `install` put there and nothing else; the script last. The spool stays."""
    changes = [*uninstall_claude_hooks(town, state_dir), *uninstall_beads_hooks(town, state_dir)]
    if all(change.ok for change in changes):
        changes += uninstall_script(state_dir)
    return changes


def verify(town: Town, state_dir: Path) -> list[HookStatus]:
    """Every place that must be right for facts to arrive; changes nothing but a probe in the spool."""
    return [
        *verify_script(town, state_dir),
        *verify_claude_hooks(town, state_dir),
        *verify_beads_hooks(town, state_dir),
    ]
