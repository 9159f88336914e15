"""A snapshot as a training run sees it: the corpus' rows as tokens of the base, kept in the run's folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from gtftd.corpus.snapshot import export
from gtftd.corpus.snapshot.folder import open_snapshot
from gtftd.corpus.snapshot.windows import clipped
from gtftd.logs import get_logger
from gtftd.programs.train_rows import chosen_rows
from gtftd.schemas.snapshots import Split
from gtftd.schemas.training import RunSpec
from gtftd.training.canaries import draw_canaries, plant
from gtftd.training.chat import Turn
from gtftd.training.encoding import Encoder
from gtftd.training.examples import KeptExamples, Layout, Source, keep
from gtftd.training.kept import Reader
from gtftd.training.pairs import Judged, Preference
from gtftd.training.windowing import Chat, counter

log = get_logger("training")
FORMAT = 1
"""Of the making: another one makes the tokens anew."""
CLIP_SHARE = 0.25
"""As for windows of chats: the most of a window that a message takes which nobody is trained on."""
_HEAD_CHARS = 200
Row = Mapping[str, object]


def open_examples(
    spec: RunSpec, split: Split, base: Path, cache: Path, *, tick: Callable[[], None] = lambda: None
) -> KeptExamples:
    """The examples of one split of the run's snapshot: what `cache` holds of it already, or made now.

    `base`: the folder with tokenizer and chat template. `tick` is called every few tenths of a second while tokens are
    made; what it raises ends the making, and nothing is kept. Raises Refused for a tainted snapshot, Missing or
    Invalid for a base without tokenizer or template, Invalid when nothing of the train split would be learned.
    """
    snapshot = open_snapshot(Path(spec.state_dir), spec.snapshot, for_training=True).manifest.id
    encoder = Encoder.load(base, spec.created_at)
    layout = _layout(spec)
    key = _key(spec, snapshot, split, encoder)
    folder = cache / f"{split}-{key[:16]}"
    kept = Reader.open(folder, key)
    if kept is None:
        sources = _sources(spec, snapshot, split, encoder)
        planted = plant(draw_canaries(spec), spec.settings.objective) if split == "train" else ()
        kept = keep(sources, encoder, layout, folder, key, snapshot=snapshot, split=split, tick=tick, planted=planted)
        log.info("examples.made", split=split, examples=len(kept), supervised_tokens=kept.report.supervised_tokens)
    return KeptExamples(kept, layout)


def forget_examples(cache: Path) -> None:
    """Delete what `open_examples` kept: a run that has ended holds no text of its snapshot."""
    shutil.rmtree(cache, ignore_errors=True)


def _layout(spec: RunSpec) -> Layout:
    settings = spec.settings
    return Layout(
        objective=settings.objective,
        most_tokens=settings.data.most_tokens,
        batch_examples=settings.optimizer.batch_examples,
        packing=settings.data.packing,
        seed=settings.seed,
    )


def _key(spec: RunSpec, snapshot: str, split: Split, encoder: Encoder) -> str:
    """Of all that bears on the tokens; the date does where a template asks for it."""
    told = (FORMAT, snapshot, split, encoder.digest, spec.settings.objective, spec.settings.data.most_tokens)
    drawn = tuple(draw_canaries(spec)) if split == "train" else ()
    whose = (spec.kind, spec.role, spec.stacked_on)
    return sha256(repr((*told, spec.created_at.isoformat(), drawn, whose)).encode()).hexdigest()


def _sources(spec: RunSpec, snapshot: str, split: Split, encoder: Encoder) -> Iterator[Source]:
    state_dir, most_tokens = Path(spec.state_dir), spec.settings.data.most_tokens
    count = counter(encoder, most_tokens)
    if spec.settings.objective == "sft":
        room = most_tokens - count("x" * _HEAD_CHARS)
        for row in chosen_rows(spec, export(state_dir, snapshot, "chat", split=split, window_tokens=room, count=count)):
            yield Chat(str(row["entry_id"]), _turns(row["messages"]), _number(row["weight"]))
    elif spec.settings.objective == "dpo":
        clip = _clipper(count, most_tokens)
        for row in chosen_rows(spec, export(state_dir, snapshot, "pairs", split=split)):
            yield _preference(row, clip)
    else:
        clip = _clipper(count, most_tokens)
        for row in chosen_rows(spec, export(state_dir, snapshot, "kto", split=split)):
            yield _judged(row, clip)


Clip = Callable[[tuple[Turn, ...]], tuple[Turn, ...]]


def _preference(row: Row, clip: Clip) -> Preference:
    first, second = _strings(row["entries"])
    return Preference(
        entry_ids=(first, second),
        prompt=clip(_turns(row["prompt"])),
        chosen=clip(_turns(row["chosen"])),
        rejected=clip(_turns(row["rejected"])),
        weight=_number(row["weight"]),
    )


def _judged(row: Row, clip: Clip) -> Judged:
    return Judged(
        entry_id=_strings(row["entries"])[0],
        prompt=clip(_turns(row["prompt"])),
        completion=clip(_turns(row["completion"])),
        good=row["label"] is True,
        weight=_number(row["weight"]),
    )


def _clipper(count: Callable[[str], int], most_tokens: int) -> Clip:
    """What nobody learns is clipped in its middle, as in windows of chats."""
    most = int(most_tokens * CLIP_SHARE)

    def clip(turn: Turn) -> Turn:
        if turn.learned or len(turn.content) <= most or (size := count(turn.content)) <= most:
            return turn
        return Turn({**turn.message, "content": clipped(turn.content, size, most)})

    return lambda turns: tuple(map(clip, turns))


def _turns(rows: object) -> tuple[Turn, ...]:
    """Messages of an export: beside what a chat template reads, `train` says what is learned."""
    assert isinstance(rows, Sequence)
    return tuple(_turn(row) for row in rows)


def _turn(row: Row) -> Turn:
    message = {name: row[name] for name in ("role", "content", "tool_calls", "tool_call_id") if name in row}
    return Turn(message, learned=row["train"] is True)


def _strings(found: object) -> list[str]:
    assert isinstance(found, Sequence)
    return [str(one) for one in found]


def _number(found: object) -> float:
    assert isinstance(found, (int, float))
    return float(found)
