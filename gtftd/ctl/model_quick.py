"""`gtftctl model list|adapters|show` without typer and pydantic: there in the time of a keystroke, daemon or not."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gtftd.ctl.model_tables import adapters_table, model_page, models_table
from gtftd.errors import Corrupt, Invalid, Missing
from gtftd.registry.rows import FIRST_VERSION, FOLDER, brief_rows, model_rows, resolved, series_of

_VALUES = ("--role", "--status", "--town", "--state-dir", "--config")
_NOTHING = "no models yet; `gtftctl model register` takes one up"


@dataclass(frozen=True)
class Words:
    """What was asked."""

    verb: str
    name: str | None
    values: Mapping[str, str]
    as_json: bool


def run_quickly(words: Sequence[str]) -> bool:
    """Do it, or say False: these words are for typer, which knows the other commands and what to say of mistakes."""
    asked = understood(words)
    if asked is None:
        return False
    answer(asked)
    return True


def understood(words: Sequence[str]) -> Words | None:
    """None for any word that is not known here."""
    if not words or words[0] not in {"list", "adapters", "show"}:
        return None
    values: dict[str, str] = {}
    names: list[str] = []
    as_json = False
    rest = iter(words[1:])
    for word in rest:
        option, equals, value = word.partition("=")
        if word == "--json":
            as_json = True
        elif option in _VALUES:
            values[option] = value if equals else next(rest, "")
        elif word.startswith("-"):
            return None
        else:
            names.append(word)
    if not all(values.values()) or len(names) != (words[0] == "show"):
        return None
    return Words(words[0], names[0] if names else None, values, as_json)


def answer(asked: Words) -> None:
    """Print it."""
    from gtftd.ctl.locating import resolve

    paths = (
        Path(asked.values[name]) if name in asked.values else None for name in ("--town", "--state-dir", "--config")
    )
    target = resolve(*paths)
    with opened(target.state_dir / "state.db") as connection:
        if asked.verb == "show":
            _show(connection, target.state_dir / FOLDER, asked)
        else:
            _list(connection, target.state_dir / FOLDER, asked)


@contextlib.contextmanager
def opened(database: Path) -> Any:
    """Read-only. Raises Missing where there is no registry, Corrupt where it cannot be read."""
    if not database.exists():
        raise Missing(f"there is no state in {database.parent}; has gtftd ever run here? give it with --state-dir DIR")
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
            _check_version(connection, database)
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        raise Corrupt(f"{database}: {error}") from error


def _check_version(connection: sqlite3.Connection, database: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < FIRST_VERSION:
        raise Missing(f"{database} was written before there was a registry; start gtftd once, or register a model")
    if version > FIRST_VERSION:  # the exact check knows all migrations
        from gtftd.state.database import check_version

        check_version(connection, database)


def _list(connection: sqlite3.Connection, folder: Path, asked: Words) -> None:
    role, status = asked.values.get("--role"), asked.values.get("--status")
    known = series_of(connection)
    if role is not None and known and role not in known:
        raise Invalid(f"there is no model of {role!r}; there are models of {', '.join(known)}")
    where = {"kind": "task" if asked.verb == "adapters" else "role"}
    where |= {name: value for name, value in (("role", role), ("deployment_status", status)) if value is not None}
    if asked.as_json:
        lines = (json.dumps(row, ensure_ascii=False) for row in model_rows(connection, folder, where))
        sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n")  # indented it takes half as long again
        return
    rows = brief_rows(connection, folder, where)
    if not rows:
        sys.stdout.write(f"{'no model that matches' if known else _NOTHING}\n")
    else:
        drawn = adapters_table(rows) if asked.verb == "adapters" else models_table(rows)
        sys.stdout.write(drawn + "\n")


def _show(connection: sqlite3.Connection, folder: Path, asked: Words) -> None:
    name = resolved(connection, str(asked.name))
    rows = model_rows(connection, folder, {"name": name}) if name else []
    if not rows:
        raise Missing(f"there is no model {asked.name!r}; `gtftctl model list` shows those that there are")
    if asked.as_json:
        print_json(rows[0])
    else:
        sys.stdout.write(model_page(rows[0]) + "\n")


def print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
