"""A snapshot as the rows that trainers read: chat messages with masks, preference pairs, and KTO."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from gtftd.corpus.snapshot.folder import Snapshot, objects_folder, open_snapshot
from gtftd.corpus.snapshot.objects import read_entry, read_text
from gtftd.corpus.snapshot.windows import Count, estimate_tokens, windows
from gtftd.corpus.texts import whole
from gtftd.errors import Invalid
from gtftd.schemas.corpus import Entry, Message, unsupervised_spans
from gtftd.schemas.snapshots import Item, Range, Split

Format = Literal["chat", "pairs", "kto"]
Row = Mapping[str, object]
_AVOIDED = frozenset({"violation", "stale", "interrupted"})
"""Masks of turns that count in a completion which is to be avoided."""
_READ = 32


def export(
    state_dir: Path,
    snapshot: str,
    format: Format,
    *,
    split: Split | None = "train",
    window_tokens: int = 8192,
    count: Count = estimate_tokens,
) -> Iterator[Row]:
    """One row at a time, ready for `json.dumps`; `split=None` takes all. Raises Refused for a tainted snapshot.

    A chat row is one window of at most `window_tokens` by `count`, as `windows` cuts them. Every row begins with a
    system message that says whose work it is, with the digest of the prime. Messages are as chat templates of
    transformers read them; beside those fields a turn says whether it is trained on (`train`), of which task it is
    where that is known (`task`), and where placeholders stand in it (`masked_spans`, and for each string of a call's
    arguments).
    """
    rows: Mapping[str, Callable[[_Exporter], Iterator[Row]]] = {
        "chat": _Exporter.chat, "pairs": _Exporter.pairs, "kto": _Exporter.kto,
    }  # fmt: skip
    if format not in rows:
        raise Invalid(f"there is no export format {format!r}; there are {', '.join(rows)}")
    opened = open_snapshot(state_dir, snapshot, for_training=True)
    return rows[format](_Exporter(opened, objects_folder(state_dir), split, window_tokens, count))


class _Exporter:
    def __init__(
        self, snapshot: Snapshot, objects: Path, split: Split | None, window_tokens: int, count: Count
    ) -> None:
        self._snapshot = snapshot
        self._split = split
        self._window_tokens = window_tokens
        self._count = count
        text = lru_cache(maxsize=256)(lambda sha256: read_text(objects, sha256))
        self._read = lru_cache(maxsize=_READ)(lambda sha256: whole(read_entry(objects, sha256), text))

    def chat(self) -> Iterator[Row]:
        for item in self._snapshot.items():
            if item.use == "sft" and item.supervised_chars and self._split in (None, item.split):
                yield from self._chat(item, self._read(item.sha256))

    def pairs(self) -> Iterator[Row]:
        stale = self._stale()
        for pair in self._snapshot.pairs():
            if self._split in (None, pair.split):
                yield {
                    "prompt": self._turns(pair.prompt, stale, prompt=True),
                    "chosen": self._turns(pair.chosen, stale),
                    "rejected": self._turns(pair.rejected, stale, avoided=True),
                    "weight": pair.weight, "kind": pair.kind, "split": pair.split, "why": pair.why,
                    "entries": [pair.chosen.entry_id, pair.rejected.entry_id],
                }  # fmt: skip

    def kto(self) -> Iterator[Row]:
        stale = self._stale()
        for row in self._snapshot.unpaired():
            if self._split in (None, row.split):
                yield {
                    "prompt": self._turns(row.prompt, stale, prompt=True),
                    "completion": self._turns(row.completion, stale, avoided=row.label == "bad"),
                    "label": row.label == "good", "weight": row.weight, "split": row.split, "why": row.why,
                    "entries": [row.completion.entry_id],
                }  # fmt: skip

    def _stale(self) -> Mapping[str, frozenset[int]]:
        return {item.entry_id: frozenset(item.stale_turns) for item in self._snapshot.items() if item.stale_turns}

    def _chat(self, item: Item, entry: Entry) -> Iterator[Row]:
        cut = windows(entry.messages, self._window_tokens, self._count, stale=item.stale_turns)
        for number, window in enumerate(cut, start=1):
            shown = [(index, entry.messages[index]) for index in window.shown]
            messages = [
                turn_of(_clipped(message, window.clipped.get(index)), train=index in window.targets)
                for index, message in shown
            ]
            yield {
                "messages": [_head(entry, window.digest), *messages], "window": number, "windows": len(cut),
                "oversized": window.is_oversized, "weight": item.weight, "split": item.split,
                "entry_id": item.entry_id, "role": item.role, "task": item.task, "label": item.label,
                "source": item.source, "own_model": item.own_model,
            }  # fmt: skip

    def _turns(
        self, part: Range, stale: Mapping[str, frozenset[int]], *, prompt: bool = False, avoided: bool = False
    ) -> list[Row]:
        entry = self._read(part.sha256)
        messages = entry.messages[part.start : part.stop]
        left = stale.get(part.entry_id, frozenset())
        turns = [
            turn_of(message, train=not prompt and _counts(message, start in left, avoided))
            for start, message in enumerate(messages, part.start)
        ]
        return [_head(entry), *turns] if prompt else turns


def _head(entry: Entry, digest: str = "") -> Row:
    """Whose work this is and on what, as the entry knows it, then what of the prime fits."""
    who = entry.actor or " of ".join(part for part in (entry.role, entry.rig) if part)
    work = f" Your work: {entry.bead}" + (f", {entry.title}." if entry.title else ".") if entry.bead else ""
    return {"role": "system", "content": f"You are {who}.{work}" + (f"\n\n{digest}" if digest else ""), "train": False}


def _clipped(message: Message, clip: str | None) -> Message:
    return message if clip is None else message.model_copy(update={"content": clip})


def turn_of(message: Message, *, train: bool) -> Row:
    """One chat message; fields that it has not are left out."""
    turn: dict[str, object] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    turn["train"] = train
    if train and message.task is not None:
        turn["task"] = message.task
    turn["masked_spans"] = [list(span) for span in unsupervised_spans(message.content)] if train else []
    if train and message.tool_calls:
        turn["masked_arguments"] = [_masked(call.arguments) for call in message.tool_calls]
    return turn


def _masked(value: object) -> object:
    """The spans of placeholders in every string of the arguments, in the shape of the arguments; None without any."""
    if isinstance(value, str):
        return [list(span) for span in unsupervised_spans(value)] or None
    if isinstance(value, Mapping):
        found = {key: spans for key, inner in value.items() if (spans := _masked(inner)) is not None}
        return found or None
    if isinstance(value, (list, tuple)):
        spans = [_masked(inner) for inner in value]
        return spans if any(one is not None for one in spans) else None
    return None


def _counts(message: Message, is_stale: bool, avoided: bool) -> bool:
    """Whether a turn of a completion is learned from: all that is good, or what is to be avoided."""
    if avoided:
        return message.role == "assistant" and (message.trainable or message.masked in _AVOIDED)
    return message.trainable and not is_stale
