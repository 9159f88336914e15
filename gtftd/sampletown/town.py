"""Makes a sample town: the shape of a real one, with two small rigs and nobody at work yet."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib import resources
from pathlib import Path

from gtftd.errors import Refused
from gtftd.sampletown.database import create_database, folder_of
from gtftd.sampletown.files import read_text
from gtftd.sampletown.layout import RIGS, TOWN_DATABASE, SampleRig
from gtftd.sampletown.repository import add_worktree, clone_repository, make_repository

MARK = Path(".sample") / "sample.json"
FOUNDED = "2026-01-05T08:00:00Z"
_FORMULAS = ("mol-polecat-work", "mol-patrol", "drift-review")


def make_town(root: Path, *, claude_dir: Path | None = None) -> None:
    """Make a sample town in `root`; `claude_dir` is its account's configuration, else one inside the town.

    A complete sample town is left alone and a half-made one is finished: the mark that says
    `complete` is written last. Raises Refused for a folder that holds anything else.
    """
    root = root.absolute()
    if is_sample_town(root):
        return
    if root.exists() and any(root.iterdir()) and not (root / MARK.parent).is_dir():
        raise Refused(f"{root} is not empty and no sample town; name an empty or a new folder")
    (root / MARK.parent).mkdir(parents=True, exist_ok=True)
    claude_dir = (claude_dir or root / ".claude-config").absolute()
    _write_town(root, claude_dir)
    _write_claude_config(claude_dir)
    _write_beads(root)
    for rig in RIGS:
        _make_rig(root, rig)
    for database in (TOWN_DATABASE, *(rig.name for rig in RIGS)):
        create_database(folder_of(root), database)
    _write_json(root / MARK, {"sample_town": 1, "complete": True})


def is_sample_town(root: Path) -> bool:
    """True for a complete sample town."""
    try:
        mark = json.loads((root / MARK).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(mark, dict) and mark.get("complete") is True


def _write_town(root: Path, claude_dir: Path) -> None:
    for folder in ("deacon/dogs/boot", "plugins", "directives", "formula-overlays", "roles", "logs", "daemon"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    _write_json(root / "mayor/town.json", {"type": "town", "version": 2, "name": root.name, "created_at": FOUNDED})
    _write_json(root / "mayor/rigs.json", {"version": 1, "rigs": {rig.name: _rig_entry(rig) for rig in RIGS}})
    _write_json(root / "mayor/daemon.json", {"type": "daemon-patrol-config", "version": 1, "patrols": {}})
    account = {"email": "sample@example.invalid", "description": "sample town", "config_dir": str(claude_dir)}
    _write_json(root / "mayor/accounts.json", {"version": 1, "accounts": {"sample": account}, "default": "sample"})
    _write_json(
        root / "settings/config.json",
        {"type": "town-settings", "version": 1, "default_agent": "claude", "agents": {}, "role_agents": {}},
    )
    _write_json(root / "settings/agents.json", {"version": 1, "agents": {}})
    _write_json(root / "settings/escalation.json", {"type": "escalation", "version": 1, "routes": {}})
    _write(root / "CLAUDE.md", read_text("town-claude.md"))
    _write(root / "AGENTS.md", read_text("town-agents.md"))
    _write(root / "directives/polecat.md", read_text("directive-polecat.md"))
    _write(root / "roles/witness.toml", 'name = "witness"\nnudge_after_minutes = 30\n')
    _write(root / ".dolt-data/config.yaml", "listener:\n  host: 127.0.0.1\n  port: 3307\n")
    _write(root / ".gitignore", ".sample/\n.claude-config/\n.events.jsonl*\n")
    for name in (".events.jsonl", ".events.jsonl.lock"):
        (root / name).touch(mode=0o644)
    for role in ("mayor", "deacon"):
        _write_settings(root / role)


def _rig_entry(rig: SampleRig) -> dict[str, object]:
    beads = {"repo": "local", "prefix": rig.prefix}
    return {"git_url": rig.git_url, "push_url": "", "local_repo": "", "added_at": FOUNDED, "beads": beads}


def _write_claude_config(claude_dir: Path) -> None:
    """The account's own settings: kept when there are some, since hooks may be installed in them."""
    (claude_dir / "projects").mkdir(parents=True, exist_ok=True)
    settings = claude_dir / "settings.json"
    if not settings.exists():
        notify = {"matcher": "", "hooks": [{"type": "command", "command": "true"}]}
        _write_json(settings, {"includeCoAuthoredBy": False, "hooks": {"Notification": [notify]}})


def _write_beads(root: Path) -> None:
    beads = root / ".beads"
    _write_metadata(beads, TOWN_DATABASE, "hq")
    routes = [{"prefix": "hq-", "path": "."}]
    routes += [{"prefix": f"{rig.prefix}-", "path": f"{rig.name}/mayor/rig"} for rig in RIGS]
    _write(beads / "routes.jsonl", "".join(json.dumps(route) + "\n" for route in routes))
    installed = {}
    for name in _FORMULAS:
        text = read_text(f"formulas/{name}.formula.toml")
        _write(beads / "formulas" / f"{name}.formula.toml", text)
        installed[f"{name}.formula.toml"] = hashlib.sha256(text.encode()).hexdigest()
    _write_json(beads / "formulas/.installed.json", {"formulas": installed})


def _write_metadata(beads: Path, database: str, prefix: str) -> None:
    (beads / "hooks").mkdir(parents=True, exist_ok=True)
    metadata = {"backend": "dolt", "database": "dolt", "dolt_mode": "server", "dolt_database": database}
    _write_json(beads / "metadata.json", metadata)
    _write(beads / "config.yaml", f"issue-prefix: {prefix}\nno-db: false\n")


def _make_rig(root: Path, rig: SampleRig) -> None:
    """One rig. What an interrupted start left of it is removed first; nobody has worked in it."""
    home = root / rig.name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    config = {"type": "rig", "version": 1, "name": rig.name, "git_url": rig.git_url, "created_at": FOUNDED}
    _write_json(home / "config.json", config | {"beads": {"prefix": rig.prefix}})
    _write_json(home / "settings/config.json", {"type": "rig-settings", "version": 1, "merge_queue": {}})
    _write(home / ".beads/redirect", "mayor/rig/.beads\n")
    canonical = home / "mayor/rig"
    _copy_project(rig.name, canonical)
    make_repository(canonical)
    _write_metadata(canonical / ".beads", rig.name, rig.prefix)
    for name in rig.polecats:
        worktree = home / "polecats" / name / rig.name
        add_worktree(canonical, worktree, f"idle-{name}")
        _write(worktree / ".beads/redirect", "../../../mayor/rig/.beads\n")
    add_worktree(canonical, home / "refinery/rig", "refinery")
    _write(home / "refinery/rig/.beads/redirect", "../../mayor/rig/.beads\n")
    for name in rig.crew:
        clone_repository(canonical, home / "crew" / name)
        _write(home / "crew" / name / ".beads/redirect", "../../mayor/rig/.beads\n")
    for role in ("crew", "polecats", "witness", "refinery"):
        _write_settings(home / role)


def _copy_project(name: str, target: Path) -> None:
    source = resources.files("gtftd.sampletown").joinpath("files", "projects", name)
    with resources.as_file(source) as folder:
        shutil.copytree(folder, target)
    for path in target.rglob("*.py.txt"):  # named so that no linter takes them for ours
        path.rename(path.with_suffix(""))
    _write(target / ".gitignore", ".beads/\n__pycache__/\n")


def _write_settings(folder: Path) -> None:
    """What gt installs for a role. The player does itself what these commands would do."""
    _write(folder / ".claude/settings.json", read_text("role-settings.json"))


def _write_json(path: Path, value: object) -> None:
    _write(path, json.dumps(value, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
