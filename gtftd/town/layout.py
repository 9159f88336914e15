"""Where everything lies in a town (gastown.md 1.1 to 1.3)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gtftd.errors import Invalid, Missing
from gtftd.town.identity import RIG_NAME

MARKER = Path("mayor") / "town.json"


@dataclass(frozen=True)
class Rig:
    """One project of the town; `prefix` is that of its beads and of its tmux sessions."""

    name: str
    path: Path
    prefix: str

    @property
    def beads_dir(self) -> Path:
        """The canonical `.beads`, past a redirect file (one line with a path) if there is one."""
        return _follow_redirect(self.path / "mayor" / "rig" / ".beads", self.path / ".beads")


@dataclass(frozen=True)
class TranscriptPlaces:
    """The folders in which agents' programs keep their sessions."""

    claude: tuple[Path, ...] = ()
    codex: tuple[Path, ...] = ()
    opencode: tuple[Path, ...] = ()
    opencode_database: Path | None = None
    """The database that the environment names, when it is not in one of the folders."""


@dataclass(frozen=True)
class Town:
    """A town on disk. Read afresh by `load`: rigs come and go."""

    root: Path
    rigs: tuple[Rig, ...] = ()
    accounts: tuple[Path, ...] = ()
    """Claude configuration directories of the town's accounts, `mayor/accounts.json`."""
    prefixes: Mapping[str, str] = field(default_factory=dict)
    """Beads prefix to rig name; the town's own beads (`hq`) have no rig."""

    @property
    def slug(self) -> str:
        """`<basename>-<first 6 hex of sha256(real path)>`: also the name of gt's tmux socket."""
        digest = hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()
        return f"{self.root.name}-{digest[:6]}"

    @property
    def events_file(self) -> Path:
        return self.root / ".events.jsonl"

    @property
    def events_lock(self) -> Path:
        return self.root / ".events.jsonl.lock"

    @property
    def beads_dir(self) -> Path:
        return _follow_redirect(self.root / ".beads")

    def rig(self, name: str) -> Rig | None:
        return next((rig for rig in self.rigs if rig.name == name), None)

    def rig_of_bead(self, bead: str) -> str | None:
        """The rig whose prefix the id carries; None for town beads and unknown prefixes."""
        matching = [prefix for prefix in self.prefixes if bead.startswith(prefix + "-")]
        return self.prefixes[max(matching, key=len)] if matching else None

    def claude_dirs(self) -> tuple[Path, ...]:
        """Every Claude configuration directory whose agents may be this town's, without repeats."""
        default = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
        return tuple(dict.fromkeys((default, *self.accounts)))

    def transcript_places(self) -> TranscriptPlaces:
        """Where the programs of this town's agents keep what was said."""
        return TranscriptPlaces(self.claude_dirs(), (codex_dir(),), (opencode_dir(),), opencode_database())


def codex_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """`$CODEX_HOME`, else `~/.codex`."""
    return Path(environ.get("CODEX_HOME") or Path.home() / ".codex")


def opencode_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """OpenCode's data folder: `$XDG_DATA_HOME/opencode`, else `~/.local/share/opencode`."""
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "opencode"


def opencode_database(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The database that `$OPENCODE_DB` names, relative to the data folder; None when it names none on disk."""
    named = environ.get("OPENCODE_DB")
    return opencode_dir(environ) / named if named and named != ":memory:" else None


def find_town(
    explicit: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
    home: Path | None = None,
) -> Path:
    """The town's root: `explicit`, `GT_TOWN_ROOT`, the outermost town above `cwd`, `~/gt`.

    Raises Missing when none of them holds `mayor/town.json`, and says where it looked.
    """
    if explicit is not None:
        return _checked(explicit, "--town")
    if named := environ.get("GT_TOWN_ROOT"):
        return _checked(Path(named), "GT_TOWN_ROOT")
    here = (cwd or Path.cwd()).resolve()
    above = [folder for folder in (here, *here.parents) if (folder / MARKER).is_file()]
    if above:
        return above[-1]
    fallback = (home or Path.home()) / "gt"
    if (fallback / MARKER).is_file():
        return fallback.resolve()
    raise Missing(
        f"no Gas Town found: no {MARKER} in {here} or above it, nor in {fallback}; "
        "give one with --town DIR or GT_TOWN_ROOT, or make one with `gtftctl town sample DIR`"
    )


def load_town(root: Path) -> Town:
    """Read the town's rigs and accounts; a missing list is an empty one, a broken one is Invalid."""
    rigs = []
    for name, entry in _table(root / "mayor" / "rigs.json", "rigs").items():
        if not RIG_NAME.fullmatch(name):
            raise Invalid(f"{root / 'mayor' / 'rigs.json'} names a rig {name!r}; gt allows no - . / \\ or blank in it")
        beads = entry.get("beads")
        prefix = beads.get("prefix") if isinstance(beads, dict) else None
        rigs.append(Rig(name=name, path=root / name, prefix=str(prefix or name).rstrip("-")))
    accounts = _table(root / "mayor" / "accounts.json", "accounts")
    folders = [Path(str(entry["config_dir"])).expanduser() for entry in accounts.values() if entry.get("config_dir")]
    return Town(
        root=root,
        rigs=tuple(rigs),
        accounts=tuple(dict.fromkeys(folders)),
        prefixes={rig.prefix: rig.name for rig in rigs},
    )


def _checked(root: Path, named_by: str) -> Path:
    if not (root / MARKER).is_file():
        raise Missing(f"{named_by} names {root}, which is no Gas Town: it has no {MARKER}")
    return root.resolve()


def _table(path: Path, key: str) -> dict[str, dict[str, object]]:
    """The objects of `key` by name; a missing file has none."""
    try:
        loaded = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{path} is not valid JSON ({error}); gt writes it, so look at what gt says of it") from error
    if not isinstance(loaded, dict) or not isinstance(loaded.get(key, {}), dict):
        raise Invalid(f"{path} must hold an object with an object {key!r}, and does not")
    return {name: entry for name, entry in loaded.get(key, {}).items() if isinstance(entry, dict)}


def _follow_redirect(*candidates: Path) -> Path:
    """The first existing candidate, past its `redirect` file (bd: one line, relative to the parent)."""
    folder = next((path for path in candidates if path.is_dir()), candidates[-1])
    try:
        target = (folder / "redirect").read_text().strip()
    except OSError:
        return folder
    return (folder.parent / target).resolve() if target else folder
