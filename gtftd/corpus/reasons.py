"""What a close reason says of the work. A vocabulary of gt's own reasons and of those that people and agents write.

The opening words decide: "Fixed: stale sockets are removed" is work, "Stale: sockets are fixed elsewhere" is none.
Only what opens with none of them is searched for words in the middle. Reasons are hostile text: a bounded part is
read, and no pattern backtracks over it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from gtftd.schemas.corpus import Label

READ_CHARS = 600
_BEAD = r"[a-z][a-z0-9_]{0,31}(?:-[a-z0-9_]+){1,6}(?:\.\d+)*"
_COMMIT = re.compile(r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{7,40}\b")
_NUMERIC_COMMIT = re.compile(
    r"\b(?:shipped|merged|fixed|implemented|landed|commit)(?: (?:in|at|as|to main))? \(?[0-9]{8,40}\b"
)
_OPENING = re.compile(r"(?:auto[- ]?)?clos(?:ed|ing)\s*(?:as|because|since|[:\u2013\u2014-]+)\s*")
_DONE_WORDS = frozenset({"", "closed", "close", "completed", "complete", "done", "finished", "n/a", "-"})

Name = Literal[
    "bare", "merged_request", "merged", "merged_commit", "work_commit", "landed", "work", "report", "said", "rollup",
    "routine", "no_changes", "already_done", "stale", "superseded", "duplicate", "artifact", "declined", "imported",
    "burned", "squashed", "deferred", "blocked", "rejected", "reverted", "failed", "lost", "abandoned",
]  # fmt: skip


@dataclass(frozen=True)
class ReasonClass:
    """`label` and `confidence` are what the reason alone is worth."""

    name: Name
    label: Label
    confidence: float

    @property
    def is_administrative(self) -> bool:
        return self.label == "administrative"

    @property
    def claims_landing(self) -> bool:
        """It says how the work came to the main branch, so that closing many at once is no sweep."""
        return self.name in _LANDINGS


_LANDINGS = frozenset({"merged_request", "merged", "merged_commit", "work_commit", "landed"})

_WORTH: tuple[tuple[Name, Label, float], ...] = (
    ("bare", "completed", 0.3),
    ("merged_request", "merged", 0.9),
    ("merged", "merged", 0.8),
    ("merged_commit", "merged", 0.85),
    ("work_commit", "completed", 0.75),
    ("landed", "completed", 0.75),
    ("work", "completed", 0.6),
    ("report", "completed", 0.5),
    ("said", "completed", 0.4),
    ("rollup", "completed", 0.4),
    ("routine", "completed", 0.4),
    ("no_changes", "administrative", 0.8),
    ("already_done", "administrative", 0.7),
    ("stale", "administrative", 0.85),
    ("superseded", "administrative", 0.8),
    ("duplicate", "administrative", 0.85),
    ("artifact", "administrative", 0.85),
    ("declined", "administrative", 0.7),
    ("imported", "administrative", 0.8),
    ("burned", "administrative", 0.8),
    ("squashed", "administrative", 0.8),
    ("deferred", "deferred", 0.7),
    ("blocked", "deferred", 0.6),
    ("rejected", "rejected", 0.8),
    ("reverted", "reverted", 0.7),
    ("failed", "failed", 0.75),
    ("lost", "failed", 0.6),
    ("abandoned", "abandoned", 0.7),
)
CLASSES: dict[Name, ReasonClass] = {name: ReasonClass(name, label, confidence) for name, label, confidence in _WORTH}
"""Each close reason is of exactly one class."""

_VERBS = (
    "fixed|fixes|fix|shipped|implemented|implements|done|completed|complete|finished|resolved|added|created|new|"
    "removed|replaced|consolidated|refactored|rewrote|rewritten|extracted|simplified|moved|renamed|converted|migrated|"
    "updated|changed|corrected|enabled|disabled|documented|improved|wrote|introduced|extended|switched|split|deployed|"
    "delivered|repaired|patched|upgraded|cleaned|built|wired|hardened|landed|released|set|raised|reduced|restored"
)

_END = r"(?:\s*[:.,;(\u2013\u2014]|\s+-|\s*$)"
"""A word that stands alone: "Timeout: no answer" is a failure, "Timeout raised to 30 s" is work."""

_BEGINS: tuple[tuple[Name, str], ...] = (
    ("routine", r"patrol (?:cycle |round )?(?:complete|done|ended|finished|digest)|(?:empty|idle) (?:queue|cycle)|"
                r"nothing to (?:do|merge)\b"),
    ("burned", r"burn(?:ed|t)\b"),
    ("squashed", r"squashed\b"),
    ("imported", rf"(?:historical |bulk )import(?:ed)?\b|imported\b|import{_END}|"
                 r"migrated (?:to|from) (?:another|new) (?:rig|database|tracker)"),
    ("artifact", r"(?:test[ /-]*)?(?:pollution|noise|garbage|junk|artifacts?|spam)\b|test (?:clean ?up|bead|issue)|"
                 rf"tests?{_END}|test data{_END}|help (?:artifact|pollution|noise)|--help\b|maintenance artifacts?|"
                 r"accidental(?:ly)? (?:created|bead|issue|close|create)"),
    ("no_changes", r"no[- ](?:code )?changes?\b|completed with(?:out| no) (?:code )?changes?\b|nothing to change\b|"
                   r"(?:done|completed|closed),? (?:with )?no (?:code )?changes?\b"),
    ("already_done", rf"already\b|(?:was )?(?:fixed|resolved|implemented|done|handled|addressed|covered|completed) "
                     rf"(?:already\b|(?:by|in) (?:(?:an? |the )?(?:earlier|previous|prior|other|another|upstream)\b"
                     rf"|{_BEAD}\b)|upstream\b|elsewhere\b|as part of\b)|tests? (?:now )?pass(?:es)? (?:now|already)"),
    ("rejected", rf"rejected\b|reject{_END}|changes requested\b"),
    ("duplicate", rf"dup(?:e|licate)?s? (?:of|bead|issue|task|request)\b|dup(?:e|licate)?{_END}|duplicates {_BEAD}|"
                  rf"same as {_BEAD}|merged (?:into|with) {_BEAD}(?<!-main)\b"),
    ("superseded", r"superseded\b|obsoleted\b|replaced by\b|subsumed\b|covered by\b|overtaken\b"),
    ("stale", r"stale\b|orphan(?:ed|s)?\b|obsolete\b|outdated\b|no longer\b|inactive\b|reaper\b|auto-closed\b|"
              rf"expired{_END}|(?:issue|bead|backlog|queue) (?:clean ?up|triage|grooming)\b|administrative"),
    ("declined", r"won'?t[ -]?(?:fix|do)\b|not (?:needed|required|relevant|applicable|planned|doing|a bug|an issue|"
                 r"reproducible|actionable|worth)\b|can(?:not|'t) reproduce|by design\b|as designed\b|works as\b|"
                 rf"invalid(?: bead| issue| request|{_END})|declined\b|accepted (?:limitation|risk)|out of scope|"
                 r"wrong (?:framing|rig|repo|approach|project)|misfiled\b|moved to (?:rig|another|the)\b|refiled\b"),
    ("reverted", r"reverted\b|rolled back\b|backed out\b"),
    ("failed", rf"failed\b|(?:failure|error|timeout|conflicts?|merge conflicts?|broken|crash){_END}|errored\b|"
               r"time(?:d|s) out\b|abort(?:ed)?\b|crashed\b|circuit[- ]broken|(?:merge )?conflicts? (?:with|in)\b|"
               r"could(?: not|n'?t)\b|unable to\b"),
    ("abandoned", r"abandon(?:ed|ing)\b|cancel(?:l?ed|ling)\b|withdrawn\b|gave up\b|giving up\b"),
    ("deferred", rf"deferred\b|defer{_END}|postponed\b|parked\b|on hold\b|backlogged\b"),
    ("blocked", rf"blocked(?: by| on|{_END})|waiting (?:for|on)\b|needs (?:input|a decision|human)"),
    ("report", r"(?:verified|audited|reviewed|confirmed|investigated|analy[sz]ed|surveyed|checked|tested|measured|"
               r"(?:code |security )?(?:audit|review|report|analysis|investigation|findings)\b)"),
    ("rollup", r"all (?:\d+ |the |its )?(?:child|children|sub|depend|step|task|tracked|item|issue|leg)|"
               r"(?:epic|convoy|molecule|children)\b.{0,40}\b(?:complete|closed|done|landed)"),
)  # fmt: skip

_CONTAINS: tuple[tuple[Name, str], ...] = (
    ("artifact", r"\b(?:help|test|noise)[ /-]+(?:group |bead )?(?:noise|pollution|artifacts?)\b|parsed as title|"
                 r"\bnot (?:a )?real issues?\b|flag[- ]parsing|execution log\b|\btest bead\b"),
    ("no_changes", r"\bno[- ](?:code )?changes?\b|\bwithout (?:code )?changes?\b"),
    ("duplicate", r"\bduplicate of\b|\bdupe of\b"),
    ("superseded", r"\bsuperseded\b|\bobsolete\b"),
    ("stale", r"\bstale\b|\bno longer (?:relevant|needed|exists?|applicable|applies)\b|\bdoes not exist on\b|"
              r"\bnever pushed\b|\bno activity\b|\badministrative\b"),
    ("declined", r"\bwon'?t ?fix\b|\bnot needed\b"),
    ("lost", r"\b(?:work|findings|branch|changes) (?:was |were )?lost\b|\blost (?:its |the |all )?(?:work|findings|"
             r"branch|changes)\b|\bneeds? to be redone\b"),
    ("already_done", r"\balready (?:fixed|implemented|done|merged|landed|on main)\b|\bfixed (?:by )?upstream\b"),
    ("rollup", r"\bchild(?:ren)?(?: tasks?)? (?:all )?(?:complete|closed|done)"),
)  # fmt: skip

_MERGED = re.compile(
    r"(?:fix|pr|mr|branch|change|work|code|patch)?(?:es|s)? ?(?:was |were |is )?merged\b"
    r"(?! (?:into|with) (?!main\b|master\b))"
    r"|direct merge\b|(?:fast-?forward|squash)[ -]merged?\b|merge to (?:main|master)\b"
)
_REQUEST = re.compile(rf"merged in (?:mr |pr )?{_BEAD}\b")
_LANDED = re.compile(
    r"\b(?:pushed|landed|committed|merged|shipped) (?:directly )?(?:to|on|into|in) (?:origin/)?(?:main|master)\b"
)
_NOT = re.compile(r"\b(?:not|never) (?:yet )?(?:pushed|landed|committed|merged|shipped)\b")
_WORK = re.compile(rf"(?:{_VERBS})\b")
_begins: list[tuple[Name, re.Pattern[str]]] = [(name, re.compile(rf"(?:{pattern})")) for name, pattern in _BEGINS]
_contains: list[tuple[Name, re.Pattern[str]]] = [(name, re.compile(pattern)) for name, pattern in _CONTAINS]
_OUTDATED = re.compile(r"\bstale\b|\bno longer\b|\bdoes not exist\b|\balready (?:closed|merged)\b|\brecycled\b")


def classify(reason: str) -> ReasonClass:
    """The class of a close reason; every text has one."""
    return CLASSES[_name(reason)]


def _name(reason: str) -> Name:
    text = " ".join(reason[:READ_CHARS].lower().replace("\u2019", "'").split())
    if text.rstrip(".! ") in _DONE_WORDS:
        return "bare"
    text = _OPENING.sub("", text, count=1) if _OPENING.match(text) else text
    if _REQUEST.match(text):
        return "merged_request"
    has_commit = bool(_COMMIT.search(text) or _NUMERIC_COMMIT.search(text))
    for name, pattern in _begins:
        if pattern.match(text):
            return _of_opening(name, text, has_commit)
    if _MERGED.match(text):
        return "merged_commit" if has_commit else "merged"
    if _WORK.match(text):
        return _of_work(text, has_commit)
    for name, pattern in _contains:
        if pattern.search(text):
            return name
    found = _of_work(text, has_commit)
    return "said" if found == "work" else found


def _of_opening(name: Name, text: str, has_commit: bool) -> Name:
    """Two openings that mean something else at times: a request sent back as void, stale things that a commit mends."""
    if name == "rejected" and _OUTDATED.search(text):
        return "stale"
    return "work_commit" if name == "stale" and has_commit else name


def _of_work(text: str, has_commit: bool) -> Name:
    if has_commit:
        return "work_commit"
    return "landed" if _LANDED.search(text) and not _NOT.search(text) else "work"
