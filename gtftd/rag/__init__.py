"""Retrieval: the daemon's side feeds the index; the index itself lives in `gtftd.programs.index`."""

from gtftd.rag.feed import Feed, Index, IndexGone
from gtftd.rag.touched import TouchedBeads

__all__ = ["Feed", "Index", "IndexGone", "TouchedBeads"]
