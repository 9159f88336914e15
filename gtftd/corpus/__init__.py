"""What agents did, as training entries: the front door of the corpus."""

from gtftd.corpus.collect import Collector
from gtftd.corpus.databases import BeadDatabases, BeadsAccess
from gtftd.corpus.documents import Documents
from gtftd.corpus.evidence import Evidence
from gtftd.corpus.filing import Filing
from gtftd.corpus.store import EntryStore

__all__ = ["BeadDatabases", "BeadsAccess", "Collector", "Documents", "EntryStore", "Evidence", "Filing"]
