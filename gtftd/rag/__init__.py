"""Retrieval: the daemon's side feeds the index; the index itself lives in `gtftd.programs.index`."""

from gtftd.rag.feed import Feed, IndexGone
from gtftd.rag.sides import Index
from gtftd.rag.touched import TouchedBeads

__all__ = ["Feed", "Index", "IndexGone", "TouchedBeads"]
