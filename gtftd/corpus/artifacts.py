"""Files that tell agents how to behave, as documents: the text, and what gt's parser reads out of a formula."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path, PurePath

from gtftd.corpus.filing import Document, Filing, Tally
from gtftd.errors import Invalid
from gtftd.logs import get_logger
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.town.artifact_files import ArtifactFile
from gtftd.town.conversation import RawMessage
from gtftd.town.formula import Formula, read_formula
from gtftd.town.identity import FOR_ALL

log = get_logger("corpus")
MAX_BYTES = 1024 * 1024
"""A longer file is no instruction that anybody reads."""
_HEADING = re.compile(r"^#{1,3}[ \t]+(\S.{0,200})", re.MULTILINE)


def folder_scope(folder: Path) -> str:
    """How the origins of a folder outside of the town begin: its name, and 6 hex of its real path, as a town's slug."""
    digest = hashlib.sha256(str(folder.resolve()).encode(errors="surrogateescape")).hexdigest()
    return f"folder:{folder.resolve().name}-{digest[:6]}/"


def read_artifact(found: ArtifactFile, scope: str) -> Document | None:
    """The document of a file; None where nothing stands in it. Raises OSError, and Invalid for what is too long."""
    if found.file.stat().st_size > MAX_BYTES:
        raise Invalid(f"{found.path} has more than {MAX_BYTES} bytes: no document")
    content = found.file.read_bytes()
    text = content.decode("utf-8", "replace").replace("\0", "\ufffd")
    if not text.strip():
        return None
    messages = [RawMessage("system", text)]
    title = _title(found, text)
    if found.kind == "formula":
        formula = read_formula(found.path, content)
        messages.append(RawMessage("system", fields_of(formula), kind="meta"))
        title = formula.name
    return Document(
        kind="artifact",
        origin=scope + found.path,
        source="file",
        messages=tuple(messages),
        role=found.role or FOR_ALL,
        rig=found.rig,
        title=title,
        issue_type=found.kind,
    )


def fields_of(formula: Formula) -> str:
    """What the parser read, as JSON; empty fields are left out, `valid` and `problems` are not."""
    told = {name: value for name, value in asdict(formula).items() if value not in ("", None, (), False)}
    return json.dumps({"valid": formula.is_valid, **_slim(told)}, ensure_ascii=False)


def _slim(value: dict[str, object]) -> dict[str, object]:
    def slim(item: object) -> object:
        if isinstance(item, dict):
            return {name: slim(inner) for name, inner in item.items() if inner not in ("", None, (), False)}
        return [slim(inner) for inner in item] if isinstance(item, tuple | list) else item

    return {name: slim(item) for name, item in value.items()}


def _title(found: ArtifactFile, text: str) -> str:
    heading = _HEADING.search(text) if found.path.endswith((".md", ".tmpl")) else None
    return heading[1].strip() if heading else PurePath(found.path).name


async def collect_artifacts(
    filing: Filing, files: Sequence[ArtifactFile], root: Path, scope: str, within: str = ""
) -> AsyncIterator[CollectProgress]:
    """Store every file; withdraw what was stored of `within` (a path that origins begin with) and is no more."""
    tally = Tally("artifacts", total=len(files))
    yield tally.progress()
    seen: set[str] = set()
    for found in files:
        document = await asyncio.to_thread(_readable, found, scope, root)
        if document is None:
            tally.skip()
        else:
            seen.add(document.entry_id)
            await filing.put(document, tally)
        if tally.is_due:
            yield tally.progress()
    filed = await filing.filed("artifact", scope + within)
    absent = [row for row in filed.values() if row.entry_id not in seen]
    gone = [row.entry_id for row in absent if not await asyncio.to_thread(_has_text, root / row.origin[len(scope) :])]
    await filing.withdraw(gone, tally)
    yield tally.progress(finished=True)


def _readable(found: ArtifactFile, scope: str, root: Path) -> Document | None:
    """None for what is too long, empty, no file, or a link that leads out of the town."""
    try:
        leads_out = found.file.is_symlink() and not found.file.resolve().is_relative_to(root.resolve())
        if leads_out or not found.file.is_file():
            return None
        return read_artifact(found, scope)
    except (OSError, Invalid) as error:
        log.info("artifact.skipped", path=found.path, error=type(error).__name__)
        return None


def _has_text(file: Path) -> bool:
    try:
        return file.is_file() and file.stat().st_size > 0
    except OSError:
        return True  # it cannot be seen now, which does not say that it is gone
