"""Retrieval: what is indexed, how it is asked for, and what a short prime is made of."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.schemas.event import Frozen, Moment

Collection = Literal["beads", "configs", "sessions", "formulas", "docs"]
COLLECTIONS: tuple[Collection, ...] = ("beads", "configs", "sessions", "formulas", "docs")
WAITS = frozenset({"blocks", "parent-child", "conditional-blocks", "waits-for"})
"""The dependencies by which one bead waits for another; all others merely relate them."""
MAX_TEXT = 400_000
"""Most characters of one document that are indexed; what is longer is cut, and says so."""


class BeadCard(Frozen):
    """The state of a bead, as far as a prime and a filter need it."""

    bead: str
    status: str
    issue_type: str = "task"
    priority: int | None = None
    assignee: str | None = None
    parent: str | None = None
    needs: tuple[str, ...] = ()
    """Beads that this one waits for (`blocks` and its kin), by id."""
    needed_by: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    formula: str | None = None
    """`attached_formula` or `attached_molecule` of the hook bead."""
    closed_at: Moment | None = None
    close_reason: str = ""


class IndexDocument(Frozen):
    """One text that can be found. Only scrubbed text comes here (`gtftd.rag.feed` sees to it)."""

    id: str = Field(min_length=1, max_length=1024)
    """Where it comes from, stable over changes: `bead:<database>/<id>`, `file:<path in the town>`, `session:<entry>`,
    `prime:<role>`."""
    collection: Collection
    rig: str | None = None
    """Whose it is; None: the town's, and everybody may read it."""
    roles: tuple[str, ...] = ()
    """Whom it instructs; empty: all."""
    title: str = ""
    text: str = Field(max_length=MAX_TEXT)
    updated_at: Moment
    bead: BeadCard | None = None
    instructs: bool = False
    """It tells agents how to behave: instructions, directives, role templates, formulas."""


class SearchQuery(Frozen):
    """What is looked for, and by whom."""

    text: str = Field(min_length=1, max_length=8192)
    rig: str | None = None
    """Who asks: sees the town's documents and this rig's. None with `everything` false: the town's alone."""
    everything: bool = False
    """The operator asks: every rig."""
    collections: tuple[Collection, ...] = ()
    """Empty: all."""
    roles: tuple[str, ...] = ()
    limit: int = Field(default=10, ge=1, le=200)
    explain: bool = False


class Scores(Frozen):
    """Why a hit stands where it stands."""

    exact: bool = False
    """The query names its bead, file or formula."""
    lexical: float | None = None
    """BM25; None: not among the candidates."""
    lexical_rank: int | None = None
    dense: float | None = None
    """Cosine of query and chunk, -1 to 1."""
    dense_rank: int | None = None
    fused: float = 0.0
    freshness: float = 1.0
    """What the fused score was multiplied with for its age."""


class Hit(Frozen):
    """One chunk that was found."""

    chunk: str
    """sha256 of what it says and whose it is."""
    document: str
    collection: Collection
    rig: str | None = None
    title: str = ""
    heading: str = ""
    """The headings above it, joined by ` > `."""
    text: str
    updated_at: Moment
    score: float
    scores: Scores = Scores()


class SearchResult(Frozen):
    hits: tuple[Hit, ...]
    searched: int
    """Chunks that the asker may see and that are in the wanted collections."""
    dense: bool = True
    """False: the embedding model is not there (yet), so words alone decided."""
    took_ms: dict[str, float] = Field(default_factory=dict)
    """Milliseconds: `embed`, `lexical`, `dense`, `rank`."""


class PutParams(Frozen):
    documents: tuple[IndexDocument, ...]
    forget: bool = False
    """True: what these documents said before may not remain on disk either."""


class PutResult(Frozen):
    added: int = 0
    """Chunks."""
    removed: int = 0
    unchanged: int = 0
    revision: int = 0
    """Of the index, after this change."""


class RemoveParams(Frozen):
    ids: tuple[str, ...]
    forget: bool = False
    """True: nothing of it may remain on disk, not even as what was once said (a purge, a taint)."""


class IdsParams(Frozen):
    prefix: str = Field(min_length=1)


class IdsResult(Frozen):
    """Documents whose id begins with the prefix."""

    ids: tuple[str, ...]


class CollectionStatus(Frozen):
    name: Collection
    documents: int
    chunks: int
    vectors: int
    newest: Moment | None = None


class IndexStatus(Frozen):
    """How the index is; also what `gtftctl rag status` shows."""

    generation: str
    """Changes when the index had to begin anew: everything must be fed to it again then."""
    revision: int
    model: str
    """The embedding model's id; empty while none is loaded."""
    dimensions: int
    waiting: int
    """Chunks that have no vector yet; they are found by their words meanwhile."""
    collections: tuple[CollectionStatus, ...]
    folder: str
    bytes: int
    healed: tuple[str, ...] = ()
    """What was repaired since the process began."""
    pid: int = 0
    rss_bytes: int = 0


class PrimeParams(Frozen):
    """Who begins a session, and what the model behind it was trained on."""

    role: str
    rig: str | None = None
    actor: str | None = None
    """Gas Town's address of the agent, as bead assignees carry it."""
    bead: str | None = None
    """The bead at hand; None: what is on the actor's hook."""
    step: str | None = None
    """The formula's step at hand, when the agent's checkpoint names it."""
    trained_at: Moment | None = None
    """Conventions that were first seen after this moment are told."""
    target_tokens: int = Field(default=1500, ge=200)
    most_tokens: int = Field(default=3000, ge=300)
    tokenizer: str | None = None
    """A tokenizer.json, or a folder that holds one: the target model's own. None: an estimate that is never low."""


class PrimeSection(Frozen):
    name: str
    tokens: int


class PrimeResult(Frozen):
    text: str
    tokens: int
    counted_by: str
    """Name of the tokenizer, or `estimate`."""
    sections: tuple[PrimeSection, ...]


class RebuildParams(Frozen):
    anew: bool = False
    """True: forget everything first, vectors too; false: only what differs changes."""


class RagStatus(Frozen):
    """The index as the daemon sees it."""

    state: Literal["ready", "starting", "down", "off"]
    detail: str = ""
    index: IndexStatus | None = None
    feeding: CollectProgress | None = None
    """How far a feeding has come that runs now."""
    fed_at: float | None = None
    """When everything was fed last, in Unix seconds; None: before this start of the daemon."""
    behind: bool = False
