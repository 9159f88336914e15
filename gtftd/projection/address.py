"""Where the records are mirrored to, and what is wrong with the tables there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from gtftd.errors import Conflict, NotReady
from gtftd.projection.tables import COLUMNS
from gtftd.schemas.settings import SettingsModel
from gtftd.town.beads_server import beads_port, database_of
from gtftd.town.layout import Town


class TablesMissing(NotReady):
    """The town's database, or some of our tables in it, are not there. `none` when no table of ours is."""

    def __init__(self, message: str, *, none: bool) -> None:
        super().__init__(message)
        self.none = none


class TablesDiffer(Conflict):
    """A table of our name has other columns, or was made by a newer gtftd."""


@dataclass(frozen=True)
class Address:
    """Where the records are mirrored to."""

    host: str
    port: int
    user: str
    password: SecretStr
    database: str
    timeout_s: float

    def __str__(self) -> str:
        return f"{self.database} at {self.host}:{self.port}"


def find_address(settings: SettingsModel, town: Town) -> Address:
    """What [projection] does not say is as in [beads]. Reads files of the town: ports change."""
    own, beads = settings.projection, settings.beads
    return Address(
        own.host or beads.host,
        own.port or beads_port(town, beads),
        own.user or beads.user,
        beads.password if own.password is None else own.password,
        own.database or database_of(town, None),
        own.timeout_s,
    )


def check_columns(found: Mapping[str, frozenset[str]], address: Address) -> None:
    """Raises TablesDiffer for a table of our name with other columns."""
    for name, columns in sorted(found.items()):
        if columns == COLUMNS[name]:
            continue
        told = [f"it has not {', '.join(sorted(COLUMNS[name] - columns))}"] if COLUMNS[name] - columns else []
        told += [f"it has {', '.join(sorted(columns - COLUMNS[name]))} besides"] if columns - COLUMNS[name] else []
        raise TablesDiffer(
            f"{address} has a table {name} that is not ours: {'; '.join(told)}. Rename it (RENAME TABLE {name} TO "
            f"{name}_old) or drop it, then `gtftctl records create`"
        )
