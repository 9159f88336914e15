"""The scrubber, judged: recall on generated transcripts, precision on clean text, speed, and peers on the same text.

`python benchmarks/scrub.py --mb 20 --clean-mb 50 --peers --hostile --json out.json`. Plants are made by
`tests/support/planted.py`, which shares nothing with the scrubber's rules; what can still be read is decided by its own
decoder. Peers are found on PATH or in the folders named by SCRUB_PEERS (`gitleaks`, `betterleaks`, `kingfisher`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import scrub_hostile, scrub_precision
from benchmarks.scrub_peers import (
    PROGRAMS,
    Laid,
    Program,
    detect_secrets_files,
    detect_secrets_lines,
    judge_run,
    run_program,
    version_of,
)
from benchmarks.scrub_recall import GROUPS, measure_recall, shown_misses, tables, town_scrubber
from tests.support.planted import Score, Session, sessions
from tests.support.planted_clean import clean_texts

_SLOW_PEER_BYTES = 300_000


@dataclass
class Row:
    """One scanner on the sessions: recall by group, and its pace in its faster run."""

    name: str
    recall: dict[str, float]
    mb: float
    findings: int
    mb_cpu_s: float = 0.0
    mb_wall_s: float = 0.0

    def ran(self, cpu_s: float, wall_s: float) -> None:
        self.mb_cpu_s = max(self.mb_cpu_s, self.mb / max(cpu_s, 1e-9))
        self.mb_wall_s = max(self.mb_wall_s, self.mb / max(wall_s, 1e-9))


def recalls(score: Score) -> dict[str, float]:
    return {group: score.recall(group=group) for group in GROUPS}


def race(seed: int, mb: float) -> list[Row]:
    """Ours and each peer by turns, forwards and backwards, on the same sessions."""
    made = list(sessions(seed, int(mb * 1e6)))
    rows: dict[object, Row] = {}
    there = [(program, decoded) for program in PROGRAMS if version_of(program) for decoded in (False, True)]
    order: list[tuple[Program, bool] | None] = [None, *there]
    with tempfile.TemporaryDirectory() as name:
        laid = {}
        for decoded in (False, True):
            folder = Path(name) / str(decoded)
            folder.mkdir()
            laid[decoded] = Laid.out(folder, made, decoded)
        for contestant in (*order, *order[::-1]):
            if contestant is None:
                _our_turn(made, rows)
            else:
                _turn(*contestant, laid[contestant[1]], rows)
    for called, run in (("scan_line", detect_secrets_lines), ("scan_file", detect_secrets_files)):
        found = run(made, _SLOW_PEER_BYTES)
        score, spent = found.recall.score, found.recall.spent
        rows[called] = Row(f"detect-secrets {called}", recalls(score), spent.size / 1e6, found.findings)
        rows[called].ran(spent.cpu_s, spent.wall_s)
    return list(rows.values())


def _our_turn(made: list[Session], rows: dict[object, Row]) -> None:
    recall = measure_recall(town_scrubber(), made)
    row = rows.setdefault("ours", Row("ours", recalls(recall.score), recall.spent.size / 1e6, recall.redactions))
    row.ran(recall.spent.cpu_s, recall.spent.wall_s)


def _turn(program: Program, decoded: bool, laid: Laid, rows: dict[object, Row]) -> None:
    run = run_program(program, laid.folder)
    if (program, decoded) not in rows:
        version = str(version_of(program)).removeprefix(program.name).strip()
        name = f"{program.name} {version}, {'texts' if decoded else 'raw lines'}"
        rows[program, decoded] = Row(
            name, recalls(judge_run(run, laid)), laid.size / 1e6, sum(map(len, run.findings.values()))
        )
    rows[program, decoded].ran(run.cpu_s, run.wall_s)


def shown_race(rows: list[Row]) -> str:
    ours = next(one for one in rows if one.name == "ours")
    lines = [
        "side by side"
        + " " * 24
        + "".join(f"{group:>9}" for group in GROUPS)
        + "     MB  found/MB  MB/s CPU  MB/s wall  ours is faster"
    ]
    for one in rows:
        shares = "".join(f"{100 * one.recall[group]:>8.1f}%" for group in GROUPS)
        pace = f"{one.mb:>7.1f}{one.findings / one.mb:>10.0f}{one.mb_cpu_s:>10.3f}{one.mb_wall_s:>11.3f}"
        lines.append(f"  {one.name:34}{shares}{pace}{ours.mb_cpu_s / one.mb_cpu_s:>10.1f} x")
    absent = [program.name for program in PROGRAMS if version_of(program) is None]
    return "\n".join(lines + ([f"  not on this machine: {', '.join(absent)}"] if absent else []))


def as_json(score: Score) -> dict[str, object]:
    names = ("held_out", "group", "kind", "encoding", "planted", "read")
    return {
        "totals": {
            group: {str(style): score.recall(style, group) for style in (None, False, True)} for group in GROUPS
        },
        "cells": [dict(zip_longest(names, (*key, n, score.missed[key]))) for key, n in sorted(score.planted.items())],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, default=20, help="generated transcripts; 0 for none")
    parser.add_argument("--clean-mb", type=float, default=0, help="clean code and prose")
    parser.add_argument("--peers", type=float, nargs="?", const=5.0, default=0, help="race on so many MB")
    parser.add_argument("--hostile", type=float, nargs="*", help="sizes in MB; without any 1 2 5 10")
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--misses", type=int, default=0, help="so many missed plants (all of it generated)")
    parser.add_argument("--examples", type=int, default=2, help="of each class of wrong redactions")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    told: dict[str, object] = {"options": {k: str(v) for k, v in vars(options).items()}, "load": os.getloadavg()}
    scrubber = town_scrubber()
    print(f"rules {getattr(scrubber, 'version', '?')}, load {os.getloadavg()[0]:.1f}, seed {options.seed}\n")
    if options.mb:
        recall = measure_recall(scrubber, sessions(options.seed, int(options.mb * 1e6)))
        told["recall"], told["pace"] = as_json(recall.score), asdict(recall.spent)
        print(tables(recall.score))
        spent = recall.spent
        clock = spent.size / 1e6 / spent.wall_s
        print(f"\n{spent.size / 1e6:.1f} MB: {spent.mb_s:.2f} MB/s of processor time, {clock:.2f} on the clock")
        print(shown_misses(recall.score, options.misses))
    if options.clean_mb:
        precision = scrub_precision.measure_precision(scrubber, clean_texts(options.seed, int(options.clean_mb * 1e6)))
        told["precision"] = {
            "right": precision.right,
            "wrong": precision.wrong,
            "size": precision.size,
            "cut": precision.cut_bytes,
        }
        print("\n" + scrub_precision.report(precision, options.examples))
        print(f"  {precision.spent.mb_s:.2f} MB/s of processor time")
    if options.peers:
        rows = race(options.seed, options.peers)
        told["race"] = [asdict(one) for one in rows]
        print("\n" + shown_race(rows))
    if options.hostile is not None:
        sizes = tuple(options.hostile) or scrub_hostile.SIZES_MB
        growths = []
        print("\n" + scrub_hostile.HEADING)
        for growth in scrub_hostile.measure_growth(scrubber, sizes):
            growths.append(asdict(growth))
            print(scrub_hostile.shown(growth), flush=True)
        told["hostile"] = growths
    if options.json:
        options.json.write_text(
            json.dumps(told, indent=1, default=lambda value: dict(value) if isinstance(value, Counter) else str(value))
        )


if __name__ == "__main__":
    main()
