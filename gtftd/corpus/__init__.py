"""What agents did, as training entries: the front door of the corpus. Its rooms open when they are entered."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gtftd.corpus.collect import Collector
    from gtftd.corpus.databases import BeadDatabases, BeadsAccess
    from gtftd.corpus.documents import Documents
    from gtftd.corpus.evidence import Evidence
    from gtftd.corpus.filing import Filing
    from gtftd.corpus.in_force import ConventionHistory
    from gtftd.corpus.store import EntryStore

__all__ = [
    "BeadDatabases",
    "BeadsAccess",
    "Collector",
    "ConventionHistory",
    "Documents",
    "EntryStore",
    "Evidence",
    "Filing",
]

_ROOMS = {
    "BeadDatabases": "databases",
    "BeadsAccess": "databases",
    "Collector": "collect",
    "ConventionHistory": "in_force",
    "Documents": "documents",
    "EntryStore": "store",
    "Evidence": "evidence",
    "Filing": "filing",
}


def __getattr__(name: str) -> Any:
    """Who shows one entry must not load what collects them."""
    if name not in _ROOMS:
        raise AttributeError(f"gtftd.corpus has no {name}")
    return getattr(import_module(f"gtftd.corpus.{_ROOMS[name]}"), name)
