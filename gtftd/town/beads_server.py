"""Where a town's beads are served: the port of its Dolt server, and the databases that are its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from gtftd.logs import get_logger
from gtftd.schemas.settings import BeadsSettings
from gtftd.town.layout import Town

DEFAULT_PORT = 3307
TOWN_DATABASE = TOWN_PREFIX = "hq"
log = get_logger("town")


def beads_port(town: Town, settings: BeadsSettings, environ: Mapping[str, str] = os.environ) -> int:
    """In gt's order: our settings, `.dolt-data/config.yaml`, GT_DOLT_PORT, `mayor/daemon.json`, 3307."""
    if settings.port is not None:
        return settings.port
    candidates = (
        listener_port(_read(town.root / ".dolt-data" / "config.yaml")),
        _port(environ.get("GT_DOLT_PORT")),
        _port(_daemon_environment(town).get("GT_DOLT_PORT")),
    )
    return next((port for port in candidates if port is not None), DEFAULT_PORT)


def beads_databases(town: Town, settings: BeadsSettings) -> tuple[str, ...]:
    """The allow-list: from the settings, else `dolt_database` of the town's and each rig's `metadata.json`.

    Whatever else lies on the server (test databases that were left behind) is never looked at.
    """
    if settings.databases is not None:
        return tuple(dict.fromkeys(settings.databases))
    names = [_database(town.beads_dir) or TOWN_DATABASE]
    names += [_database(rig.beads_dir) or rig.name for rig in town.rigs]
    return tuple(dict.fromkeys(names))


def database_of(town: Town, rig: str | None) -> str:
    """The database of a rig, or of the town itself."""
    found = town.rig(rig) if rig else None
    return (_database(found.beads_dir) or found.name) if found else _database(town.beads_dir) or TOWN_DATABASE


def rig_of_database(town: Town, database: str) -> str | None:
    """The rig whose beads are in this database; None for the town's own and for strangers."""
    return next((rig.name for rig in town.rigs if database_of(town, rig.name) == database), None)


def database_of_bead(town: Town, bead: str) -> str | None:
    """Where a bead of this prefix is kept; None for a prefix that nobody has."""
    rig = town.rig(town.rig_of_bead(bead) or "")
    if rig is not None:
        return _database(rig.beads_dir) or rig.name
    return (_database(town.beads_dir) or TOWN_DATABASE) if bead.startswith(f"{TOWN_PREFIX}-") else None


def listener_port(yaml: str) -> int | None:
    """`listener.port` of Dolt's YAML.

    A line reader, not a YAML parser: it knows block style with a top-level `listener:` and a `port:`
    among its direct children, which is what gt and dolt write. Flow style and anchors are not understood.
    """
    inside: int | None = None
    for line in yaml.splitlines():
        content = line.split(" #", 1)[0].rstrip()
        key = content.strip()
        if not key or key.startswith("#"):
            continue
        indent = len(content) - len(content.lstrip())
        if indent == 0:
            if inside is not None:
                return None
            inside = 0 if key == "listener:" else None
        elif inside is not None:
            inside = inside or indent
            if indent == inside and key.startswith("port:"):
                return _port(key.removeprefix("port:").strip().strip("'\""))
    return None


def _database(beads: Path) -> str | None:
    name = _json(beads / "metadata.json").get("dolt_database")
    return name if isinstance(name, str) and name else None


def _daemon_environment(town: Town) -> Mapping[str, object]:
    found = _json(town.root / "mayor" / "daemon.json").get("env")
    return found if isinstance(found, dict) else {}


def _port(value: object) -> int | None:
    try:
        port = int(str(value))
    except ValueError:
        return None
    return port if 0 < port < 65_536 else None


def _json(path: Path) -> Mapping[str, object]:
    """Half-written or foreign content counts as absent: the next poll reads it again."""
    try:
        loaded = json.loads(_read(path) or "{}")
    except (ValueError, RecursionError):
        log.warning("file.unreadable", path=path.name)
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
