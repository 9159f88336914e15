"""Rendered chats as tokens, each with the place in the text that it stands for.

Text of transcripts never becomes a control token: where a message itself says `<|im_end|>`, it is spelled out in
ordinary tokens. The template alone begins and ends turns.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer

from gtftd.errors import Invalid, Missing
from gtftd.training.batches import Tokens
from gtftd.training.chat import ChatTemplate, Message, Unrenderable

Places = NDArray[np.int64]
_PLANES = (0x100000, 0x10F000, 0xF0000, 0xFF000)
"""Where the stand-ins of control tokens come from: private characters, those which the chat itself does not use."""
_AN_ENDING = "zq_ending"


@dataclass(frozen=True)
class Encoded:
    """The tokens of a text, `places` (length, 2): from which character to which."""

    text: str
    tokens: Tokens
    places: Places


@dataclass(frozen=True)
class Guarded:
    """Messages in which each control token that somebody wrote is one private character."""

    messages: tuple[Message, ...]
    stand_ins: Mapping[str, str]
    """Private character -> the control token's text."""


class Encoder:
    """Template and tokenizer of one base."""

    def __init__(self, tokenizer_json: bytes, template: ChatTemplate, end_ids: frozenset[int] = frozenset()) -> None:
        """`end_ids`: tokens that end a turn, beside the one that the template sets."""
        self.template = template
        self._tokenizer = _open(tokenizer_json)
        self._json = tokenizer_json
        self._controls = {one.content: key for key, one in _special(self._tokenizer).items()}
        literals = sorted(self._controls, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, literals)) if literals else r"(?!)")
        self.end_ids = end_ids | {self._find_end()}
        self.digest = sha256(tokenizer_json + b"\0" + template.source.encode()).hexdigest()

    @classmethod
    def load(cls, folder: Path, now: datetime) -> Encoder:
        """From the folder of a base. Raises Missing or Invalid."""
        template = ChatTemplate.load(folder, now)
        try:
            content = (folder / "tokenizer.json").read_bytes()
        except FileNotFoundError as error:
            raise Missing(f"{folder} has no tokenizer.json; convert its tokenizer with transformers first") from error
        return cls(content, template, _generation_ends(folder))

    def count(self, text: str) -> int:
        (found,) = self._tokenizer.encode_batch_fast([clean(text)], add_special_tokens=False)
        return len(found)

    def prompt(self, messages: Sequence[Message]) -> Tokens:
        """What a model reads before it answers these messages. Raises Unrenderable."""
        guarded = self.guard(messages)
        return self.encode(self.template.render(guarded.messages, begin_answer=True), guarded.stand_ins, ())[0].tokens

    def guard(self, messages: Sequence[Message]) -> Guarded:
        """Take control tokens out of what messages say. Raises Unrenderable when they use all private characters."""
        messages = [_changed(message, clean) for message in messages]
        texts = [text for message in messages for text in _texts(message)]
        said = {match for text in texts for match in self._control.findall(text)}
        if not said:
            return Guarded(tuple(messages), {})
        used = set().union(*map(set, texts))
        for plane in _PLANES:
            stand_ins = {chr(plane + place): literal for place, literal in enumerate(sorted(said))}
            if not used & set(stand_ins):
                break
        else:
            raise Unrenderable("a chat uses every range of private characters")
        there = {literal: mark for mark, literal in stand_ins.items()}
        return Guarded(
            tuple(_changed(message, lambda text: self._stand_in(text, there)) for message in messages), stand_ins
        )

    def _stand_in(self, text: str, there: Mapping[str, str]) -> str:
        return self._control.sub(lambda match: there[match[0]], text)

    def encode(self, text: str, stand_ins: Mapping[str, str], marks: Sequence[int]) -> tuple[Encoded, list[int]]:
        """Tokens of a text with stand-ins, and where the given places of it are once these are spelled out."""
        if not stand_ins:
            return self._plain(text), list(marks)
        pieces = [self._piece(piece, stand_ins) for piece in self._split(text)]
        starts = [0, *accumulate(len(piece.text) for piece in pieces)]
        whole = Encoded(
            "".join(piece.text for piece in pieces),
            np.concatenate([piece.tokens for piece in pieces]),
            np.concatenate([piece.places + start for piece, start in zip(pieces, starts, strict=False)]),
        )
        grown = [(at, len(stand_ins[mark]) - 1) for at, mark in enumerate(text) if mark in stand_ins]
        places, sums = [at for at, _ in grown], [0, *accumulate(more for _, more in grown)]
        return whole, [mark + sums[bisect_right(places, mark - 1)] for mark in marks]

    def _split(self, text: str) -> Iterator[str]:
        at = 0
        for match in self._control.finditer(text):
            if match.start() > at:
                yield text[at : match.start()]
            yield match[0]
            at = match.end()
        if at < len(text):
            yield text[at:]

    @cached_property
    def _spelling(self) -> Tokenizer:
        """For what somebody wrote: control tokens are letters to it. Few chats need it, and it takes long to open.

        It reads what stands between control tokens: SentencePiece's blank before the first word of a text is not there.
        """
        told = json.loads(self._json)
        if (told.get("pre_tokenizer") or {}).get("prepend_scheme") == "first":
            told["pre_tokenizer"]["prepend_scheme"] = "never"
        tokenizer = _open(json.dumps(told).encode())
        tokenizer.encode_special_tokens = True
        return tokenizer

    def _piece(self, piece: str, stand_ins: Mapping[str, str]) -> Encoded:
        if piece in self._controls:
            return Encoded(piece, np.array([self._controls[piece]], np.int32), np.array([[0, len(piece)]], np.int64))
        for mark, literal in stand_ins.items():
            piece = piece.replace(mark, literal)
        return _encoded(self._spelling, piece)

    def _plain(self, text: str) -> Encoded:
        return _encoded(self._tokenizer, text)

    def _find_end(self) -> int:
        """The control token that the template sets behind what an assistant said."""
        asked: Message = {"role": "user", "content": "zq"}
        text = self.template.render([asked, {"role": "assistant", "content": _AN_ENDING}])
        found = self._control.search(text, text.rindex(_AN_ENDING) if _AN_ENDING in text else len(text))
        if found is None:
            raise Invalid("the chat template sets no special token behind an assistant's turn: no end could be learned")
        return self._controls[found[0]]


def _encoded(tokenizer: Tokenizer, text: str) -> Encoded:
    found = tokenizer.encode(text, add_special_tokens=False)
    return Encoded(text, np.array(found.ids, np.int32), np.array(found.offsets, np.int64).reshape(-1, 2))


def _open(tokenizer_json: bytes) -> Tokenizer:
    """Without what is done after splitting: it only adds tokens at the ends, and moves offsets behind blanks."""
    try:
        told = json.loads(tokenizer_json)
        told["post_processor"] = None
        tokenizer = Tokenizer.from_str(json.dumps(told))
    except Exception as error:  # the library raises nothing more special
        raise Invalid(f"tokenizer.json cannot be read: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _special(tokenizer: Tokenizer) -> Mapping[int, AddedToken]:
    return {key: one for key, one in tokenizer.get_added_tokens_decoder().items() if one.special}


def _generation_ends(folder: Path) -> frozenset[int]:
    try:
        found = json.loads((folder / "generation_config.json").read_bytes()).get("eos_token_id")
    except (FileNotFoundError, ValueError):
        return frozenset()
    return frozenset(found if isinstance(found, list) else [found] if isinstance(found, int) else [])


def clean(text: str) -> str:
    """Without halves of surrogate pairs, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()


def _changed(message: Message, change: Callable[[str], str]) -> Message:
    """The role stays: templates ask for it."""
    return {name: value if name == "role" else _walked(value, change) for name, value in message.items()}


def _walked(value: object, change: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(key)): _walked(inner, change) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_walked(inner, change) for inner in value]
    return value


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)
