"""What agents did, as training entries: the front door of the corpus."""

from gtftd.corpus.collect import Collector
from gtftd.corpus.evidence import Evidence
from gtftd.corpus.store import EntryStore

__all__ = ["Collector", "EntryStore", "Evidence"]
