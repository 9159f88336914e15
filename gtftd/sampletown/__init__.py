"""A sample town: the real shape, a day of life in it, and a stand-in for its database server."""

from gtftd.sampletown.town import is_sample_town, make_town

__all__ = ["is_sample_town", "make_town"]
