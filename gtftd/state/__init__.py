"""Local durable state: the front door."""

from gtftd.state.crash import crash_point
from gtftd.state.database import Database
from gtftd.state.ledger import Ledger
from gtftd.state.outbox import Outbox, Outgoing
from gtftd.state.parking import Parking

__all__ = ["Database", "Ledger", "Outbox", "Outgoing", "Parking", "crash_point"]
