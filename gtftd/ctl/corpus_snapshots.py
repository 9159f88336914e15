"""gtftctl corpus snapshot, snapshots, diff, verify, export: what a training run reads; no daemon needs to run."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from gtftd.ctl import show
from gtftd.ctl.corpus_names import check_rig, check_role
from gtftd.ctl.target import Json, Target
from gtftd.errors import Refused

if TYPE_CHECKING:
    from gtftd.schemas.snapshots import Change, Gate, Manifest, SnapshotDiff, SnapshotRow

SnapshotId = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="Its id, or the first letters of it.")]
_SHOWN_CHANGES = 20
_SHOWN = ("use", "label", "weight", "split")
_OTHERS = {"sha256": "text", "stale_turns": "set of stale turns"}
_REMEDIES = {
    "source_cap": (
        "add work of other agents, or raise `snapshots.source_cap`; for a source that is new, wait until it has worked "
        "for `snapshots.new_source_days`, or raise `snapshots.new_source_cap`"
    ),
    "own_model_cap": "add work of other models, or raise `snapshots.own_model_cap`",
}
_NUMBERS = ("age", "entries", "tokens", "pairs")


def snapshot(
    target: Target,
    *,
    role: Annotated[str | None, typer.Option("--role", help="Only entries of this role.")] = None,
    rig: Annotated[str | None, typer.Option("--rig", help="For this rig: its entries, and those shared.")] = None,
    as_json: Json = False,
) -> None:
    """Build a snapshot of the corpus as it is now; exit code 1 when it is not ready to be trained on, and why."""
    from gtftd.corpus.snapshot import build_snapshot
    from gtftd.ctl.corpus_progress import Step, shown
    from gtftd.settings import load_settings

    settings = load_settings(target.config)
    _log_to_file(target)
    check_role(target, role)
    check_rig(target, rig)
    with shown(quiet=as_json) as draw:

        def progress(stage: str, done: int, total: int) -> None:
            draw(Step(stage, done, total or None))

        made = build_snapshot(target.state_dir, settings, role=role, rig=rig, progress=progress)
    if as_json:
        show.print_json(made.model_dump(mode="json"))
    else:
        _show_manifest(made)
    if not made.ready:
        raise typer.Exit(1)


def snapshots(
    target: Target,
    *,
    why: Annotated[bool, typer.Option("--why", help="Every reason for which one is not ready, in full.")] = False,
    as_json: Json = False,
) -> None:
    """Every snapshot, the newest first: what is in it, and whether it is ready."""
    from gtftd.corpus.snapshot import list_snapshots, read_manifest

    rows = list_snapshots(target.state_dir)
    if as_json:
        show.print_json([row.model_dump(mode="json") for row in rows])
        return
    from rich.text import Text

    heads = ("snapshot", "age", "for", "entries", "tokens", "pairs", "state")
    table = show.table(*heads, right=_NUMBERS, folded=("for", "state"))
    for row in rows:
        numbers = (f"{row.items:,}", f"{row.supervised_tokens:,}", f"{row.pairs:,}")
        age = Text(show.short_age(row.created_at), show.DIM)
        table.add_row(
            Text(row.id[:12], show.CALM), age, Text(show.clean(_for(row.role, row.rig))), *numbers, _state(target, row)
        )
    if not rows:
        show.print_line("no snapshots; `gtftctl corpus snapshot` builds one")
        return
    show.console().print(table)
    for row in rows if why else ():
        if not (row.ready or row.tainted):
            show.print_line(f"{row.id[:12]} is not ready:")
            for reason in _reasons(read_manifest(target.state_dir, row.id).reasons):
                show.print_line(f"  {reason}")


def diff(
    target: Target,
    a: Annotated[str, typer.Argument(metavar="A", help="The one before.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The one after.")],
    *,
    all_: Annotated[bool, typer.Option("--all", help="Every entry that differs.")] = False,
    as_json: Json = False,
) -> None:
    """What changed from snapshot A to snapshot B: entries that came, went, or stand there otherwise."""
    from gtftd.corpus.snapshot import diff as compare

    _log_to_file(target)
    found = compare(target.state_dir, a, b)
    if as_json:
        show.print_json(found.model_dump(mode="json"))
        return
    _show_diff(found, len_shown=None if all_ else _SHOWN_CHANGES)


def verify(target: Target, snapshot_id: SnapshotId, *, as_json: Json = False) -> None:
    """Compute every sum of a snapshot again; exit code 1 when it is not what its id says."""
    from gtftd.corpus.snapshot import verify as check

    _log_to_file(target)
    found = check(target.state_dir, snapshot_id)
    if as_json:
        show.print_json(found.model_dump(mode="json"))
    elif found.is_whole:
        show.print_line(f"{found.id[:12]} is whole: {show.count(found.items, 'entry')}, {found.contents:,} contents")
    for problem in () if as_json else found.problems:
        show.print_line(show.clean(problem))
    if not found.is_whole:
        raise typer.Exit(1)


def export(
    target: Target,
    snapshot_id: SnapshotId,
    *,
    format_: Annotated[Literal["chat", "pairs", "kto"], typer.Option("--format", "-f")] = "chat",
    split: Annotated[Literal["train", "dev", "test", "all"], typer.Option("--split")] = "train",
    window: Annotated[int, typer.Option("--window", min=256, help="The most tokens of a chat row, estimated.")] = 8192,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Else standard output.")] = None,
) -> None:
    """The rows that a trainer reads, one JSON object a line. Refused for a tainted snapshot."""
    from gtftd.corpus.snapshot import export as rows_of

    _log_to_file(target)
    chosen = None if split == "all" else split
    rows = rows_of(target.state_dir, snapshot_id, format_, split=chosen, window_tokens=window)
    if out is None:
        _write_rows(rows, sys.stdout)
        return
    count = _write_file(rows, out)
    show.print_line(f"{show.count(count, 'row')} in {out}")


def _log_to_file(target: Target) -> None:
    """Beside the daemon's log, never among what we print. Raises Missing where no daemon has ever run."""
    from gtftd import logs
    from gtftd.control.listing import reading

    with reading(target.state_dir):
        folder = target.state_dir / "logs"
    folder.mkdir(exist_ok=True, mode=0o700)
    logs.configure("info", folder / "snapshot.log", console=False)


def _show_manifest(made: Manifest) -> None:
    from gtftd.ctl.page import counts

    show.print_line(f"snapshot {made.id}")
    selection = made.selection
    for name, value in (
        ("for", _for(selection.role, selection.rig, selection.rigs)),
        ("entries", f"{made.items:,}: {counts(made.by_split)}; {counts(made.by_use)}"),
        ("labels", counts(made.by_label)),
        ("to learn", f"{made.supervised_tokens:,} tokens in {show.count(made.windows, 'window')}"),
        ("preferences", f"{show.count(made.pairs, 'pair')}, {made.unpaired:,} unpaired"),
        ("left out", counts(made.excluded)),
        ("ready", "yes" if made.ready else "no:"),
    ):
        show.print_line(f"{name:11}  {show.clean(value)}")
    for reason in _reasons(made.reasons):
        show.print_line(f"{'':11}  {reason}")
    if selection.rig is None and made.excluded.get("not_selected", not made.items):
        show.print_line(f"{'':11}  (rigs own their data: name one with --rig, or share them under [sharing])")


def _for(role: str | None, rig: str | None, rigs: Sequence[str] = ()) -> str:
    """Whose work it may hold: without a rig that of the town's own agents, and of the rigs that share."""
    whose = rig or " and ".join(["the town itself", *rigs])
    return show.clean(f"{role} of {whose}" if role else whose)


def _state(target: Target, row: SnapshotRow) -> str:
    """With the names of the gates that it did not pass; `--why` says more."""
    from gtftd.corpus.snapshot import read_manifest

    if row.tainted:
        return f"[{show.BAD}]tainted[/]"
    if row.ready:
        return f"[{show.GOOD}]ready[/]"
    gates = dict.fromkeys(gate.gate.replace("_", " ") for gate in read_manifest(target.state_dir, row.id).reasons)
    return f"not ready: {', '.join(gates)}"


def _reasons(gates: Sequence[Gate]) -> Iterator[str]:
    """Why a snapshot is not ready; after the last of a kind what to do, where that is not plain."""
    last = {gate.gate: place for place, gate in enumerate(gates)}
    for place, gate in enumerate(gates):
        yield f"{gate.gate.replace('_', ' ')}: {show.clean(gate.why)}"
        if gate.gate in _REMEDIES and place == last[gate.gate]:
            yield f"  to mend it, {_REMEDIES[gate.gate]}"


def _show_diff(found: SnapshotDiff, *, len_shown: int | None) -> None:
    counted = f"{len(found.added):,} came, {len(found.removed):,} went, {len(found.changed):,} changed"
    show.print_line(f"{found.a[:12]} to {found.b[:12]}: {counted}, {found.same:,} the same")
    for sign, changes in (("+", found.added), ("-", found.removed), ("~", found.changed)):
        for change in changes[:len_shown]:
            show.print_line(f"{sign} {change.entry_id[:8]}  {show.clean(_change(change))}".rstrip())
        if len_shown is not None and len(changes) > len_shown:
            show.print_line(f"{sign} {len(changes) - len_shown:,} more, see --all")


def _change(change: Change) -> str:
    """`label completed > merged, weight 0.5 > 1, another text`; the reason for one that went. JSON has every sum."""
    before, after = change.before, change.after
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    moved = [
        f"{name} {_short(before.get(name, '-'))} > {_short(after.get(name, '-'))}" for name in _SHOWN if name in names
    ]
    if not before:
        moved = [f"{name} {_short(after[name])}" for name in _SHOWN if name in after]
    elif others := [_OTHERS.get(name, name) for name in names if name not in _SHOWN]:
        moved.append(f"another {' and '.join(others)}")
    return change.why or ", ".join(moved)


def _short(value: str) -> str:
    """A weight in three digits; a word as it is."""
    try:
        return f"{float(value):.3g}"
    except ValueError:
        return value


def _write_rows(rows: Iterable[Mapping[str, object]], file: TextIO) -> int:
    count = 0
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count


def _write_file(rows: Iterable[Mapping[str, object]], path: Path) -> int:
    """Written aside and renamed: FILE holds all rows or is not there."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("w", encoding="utf-8") as file:
            count = _write_rows(rows, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}; give a file that can be written with --out") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
    return count
