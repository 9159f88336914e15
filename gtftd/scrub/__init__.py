"""What may leave the spool: the only room that turns raw text into `Scrubbed` text."""

from gtftd.scrub.placeholders import PLACEHOLDER
from gtftd.scrub.scrubber import Doubt, Finding, Scrubbed, ScrubbedMessages, Scrubber, rules_version

__all__ = ["PLACEHOLDER", "Doubt", "Finding", "Scrubbed", "ScrubbedMessages", "Scrubber", "rules_version"]
