"""Files that tell agents how to behave, as documents: the text, and what gt's parser reads out of a formula."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path, PurePath

from gtftd.corpus.filing import FOR_ALL, Document
from gtftd.errors import Invalid
from gtftd.town.artifact_files import ArtifactFile
from gtftd.town.conversation import RawMessage
from gtftd.town.formula import Formula, read_formula

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
