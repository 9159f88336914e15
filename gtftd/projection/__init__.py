"""The records, mirrored into the town's Dolt: in order, idempotent, catching up after any outage."""

from gtftd.projection.address import Address, TablesDiffer, TablesMissing, find_address
from gtftd.projection.comparison import Compared, Comparison
from gtftd.projection.outlook import Outlook, look
from gtftd.projection.projector import Projector, Synced
from gtftd.projection.server import TownServer, connect
from gtftd.projection.tables import STEPS, TABLES

__all__ = [
    "STEPS",
    "TABLES",
    "Address",
    "Compared",
    "Comparison",
    "Outlook",
    "Projector",
    "Synced",
    "TablesDiffer",
    "TablesMissing",
    "TownServer",
    "connect",
    "find_address",
    "look",
]
