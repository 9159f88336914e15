"""React to events: the front door of the bus. Only this room speaks NATS."""

from gtftd.bus.connection import Bus
from gtftd.bus.contract import Reaction, Retry, bind, discover, on
from gtftd.bus.delivery import Workplace
from gtftd.bus.embedded import EmbeddedServer
from gtftd.bus.publisher import Publisher
from gtftd.bus.runtime import Runtime

__all__ = [
    "Bus",
    "EmbeddedServer",
    "Publisher",
    "Reaction",
    "Retry",
    "Runtime",
    "Workplace",
    "bind",
    "discover",
    "on",
]
