"""The messages of one entry as text and as words: made once, for whoever measures and whoever compares."""

from __future__ import annotations

from functools import cached_property

from gtftd.corpus.snapshot.windows import spoken
from gtftd.corpus.snapshot.words import words_of
from gtftd.schemas.corpus import Entry, Message, unsupervised_spans


class Utterance:
    """One message."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.text = spoken(message)
        """Everything that it says, calls included."""

    @cached_property
    def words(self) -> list[str]:
        return words_of(self.text)

    @property
    def learned(self) -> list[str]:
        """The words of a turn without placeholders."""
        parts, at = [], 0
        for start, end in unsupervised_spans(self.text):
            parts.append(self.text[at:start])
            at = end
        return words_of(" ".join([*parts, self.text[at:]])) if parts else self.words


def utterances_of(entry: Entry) -> list[Utterance]:
    return [Utterance(message) for message in entry.messages]
