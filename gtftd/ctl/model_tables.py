"""How models are shown: pure text from plain rows, without rich, which takes longer to import than all of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gtftd.registry.rows import flat

Row = Mapping[str, Any]
COLORS = {
    "active": "32", "canary": "36", "gated": "36", "degraded": "33", "held": "33", "flagged": "31", "tainted": "31",
    "archived": "2",
}  # fmt: skip
_NUMBERS = {"VER", "EVAL", "N"}


def models_table(rows: Iterable[Row]) -> str:
    """As the specification has it: NAME ROLE BASE VER EVAL STATUS."""
    cells = [
        (row["name"], row["role"], row["base_model"], str(row["version"]), share(row["eval_score"]), status_of(row))
        for row in rows
    ]
    return table(("NAME", "ROLE", "BASE", "VER", "EVAL", "STATUS"), cells)


def adapters_table(rows: Iterable[Row]) -> str:
    cells = [
        (row["name"], row["role"], str(row["version"]), share(row["eval_score"]), row["deployment_status"],
         ", ".join(row["compatible_with"]) or f"models of {row['base_model']}")
        for row in rows
    ]  # fmt: skip
    return table(("NAME", "TASK", "VER", "EVAL", "STATUS", "COMPATIBLE WITH"), cells)


def status_of(row: Row) -> str:
    """`active (gastown, pixel)`; where it serves the whole town the status says it all."""
    told = str(row["deployment_status"])
    rigs = [rig for rig in row["deployed_to"] if rig != "town"]
    if rigs:
        told += f" ({', '.join(rigs)})"
    return told if row["artifact_path"] else f"{told}, pruned"


def model_page(row: Row) -> str:
    """One model, field by field."""
    lines = [
        ("Name", row["name"]),
        ("Role" if row["kind"] == "role" else "Task", row["role"]),
        ("Base", f"{row['base_model']} ({row['base_digest'][:12]})"),
        ("LoRA", f"rank-{row['lora_rank']}" if row["lora_rank"] else "-"),
        ("Trained", row["trained_at"][:10]),
        ("Corpus", _corpus(row)),
        ("Eval score", _scored(row)),
        *((f"  {category}", _interval(score)) for category, score in _categories(row)),
        ("DPO pairs", f"{row['dpo_pairs']:,}"),
        ("Adapters", ", ".join(row["lora_adapters"]) or "none"),
        *([("Fits on", ", ".join(row["compatible_with"]) or "models of its base")] if row["kind"] == "task" else []),
        ("Deployed to", ", ".join(row["deployed_to"]) or "nowhere"),
        ("Status", row["deployment_status"]),
        ("Called", ", ".join(row["aliases"]) or "-"),
        ("Parent", row["parent"] or "none"),
        ("Job", row["job"] or "-"),
        ("Artifact", row["artifact_path"] or f"{row['artifact'][:12]}, pruned"),
        ("Settings", ", ".join(f"{name}={value}" for name, value in flat(row["training_config"]).items()) or "-"),
        ("Made by", f"gtftd {row['gtftd_version']}"),
    ]
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(f"{name + ':':<{width}} {clean(str(value))}" for name, value in lines)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns under their headings; statuses in colour on a terminal."""
    cells = [tuple(headings), *(tuple(clean(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    is_colored = sys.stdout.isatty()
    lines = []
    for at, row in enumerate(cells):
        padded = [
            cell.rjust(width) if heading in _NUMBERS else cell.ljust(width)
            for cell, width, heading in zip(row, widths, headings, strict=True)
        ]
        if at and is_colored:
            padded = [_colored(cell, heading) for cell, heading in zip(padded, headings, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def share(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.1f}%"


def clean(text: str) -> str:
    """Without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _corpus(row: Row) -> str:
    from_snapshot = f" of snapshot {row['snapshot'][:12]}" if row["snapshot"] else ""
    return f"{row['examples']:,} examples{from_snapshot} ({row['corpus_hash'][:12]})"


def _scored(row: Row) -> str:
    whole = row["eval_scores_by_category"].get("")
    return _interval(whole) if whole else share(row["eval_score"])


def _categories(row: Row) -> list[tuple[str, Row]]:
    return [(name, score) for name, score in row["eval_scores_by_category"].items() if name]


def _interval(score: Row) -> str:
    return f"{share(score['score'])} ({share(score['low'])} to {share(score['high'])}, n={score['n']})"


def _colored(cell: str, heading: str) -> str:
    if heading != "STATUS":
        return cell
    code = COLORS.get(cell.split(" ", maxsplit=1)[0].rstrip(","))
    return f"\x1b[{code}m{cell}\x1b[0m" if code else cell
