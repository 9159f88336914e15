"""What a town says: the events that sources, hooks and remote rigs may publish."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from gtftd.schemas.event import Event, Frozen, Moment

Seen = Literal["hook", "feed", "poll", "watch", "sweep", "emit"]
"""Which source saw it: the hook spool, gt's event feed, the beads poller, a watcher, the sweep, an operator."""

BeadId = str
SessionId = str


class TownEvent(Event):
    """A fact about the town; `at` is when it happened there, `seen_by` who told us."""

    origin = "town"
    at: Moment
    seen_by: Seen


class SessionStarted(TownEvent):
    """An agent session began, resumed, or was compacted: the join that Gas Town itself does not keep."""

    subject: ClassVar[str] = "session.started"
    session_id: SessionId = Field(min_length=1, max_length=128)
    transcript_path: str | None = None
    start: Literal["startup", "resume", "clear", "compact", "unknown"] = "unknown"
    role: str | None = None
    """Simple role: mayor, deacon, boot, dog, witness, refinery, polecat, crew."""
    rig: str | None = None
    actor: str | None = None
    """Gas Town's address of the agent, for example `gastown/polecats/nux`; equals bead assignees."""
    agent: str | None = None
    """`GT_AGENT`: the alias of the agent definition, which says which model served."""
    run_id: str | None = None
    tmux_session: str | None = None
    work_bead: BeadId | None = None
    cwd: str | None = None
    git_head: str | None = None


class TurnEnded(TownEvent):
    """The agent finished a turn (Claude Code's Stop): a checkpoint, not an end."""

    subject: ClassVar[str] = "turn.ended"
    session_id: SessionId = Field(min_length=1, max_length=128)
    transcript_path: str | None = None


class SessionEnded(TownEvent):
    """A session is over. gt knows only the tmux session, Claude Code only the session id; one must be given."""

    subject: ClassVar[str] = "session.ended"
    free_text: ClassVar[tuple[str, ...]] = ("reason",)
    session_id: SessionId | None = None
    tmux_session: str | None = None
    transcript_path: str | None = None
    reason: str = "unknown"
    died: bool = False
    """True when gt reports a crash or a kill, false for an ordinary end or an idle reap."""


class BeadTouched(TownEvent):
    """A beads hook fired: a wake-up for the poller, never the truth about a bead."""

    subject: ClassVar[str] = "bead.touched"
    bead: BeadId
    change: Literal["create", "update", "close"]


class BeadAssigned(TownEvent):
    """Work was put on an agent's hook: `gt sling`, `gt hook`, or a claim seen in the database."""

    subject: ClassVar[str] = "bead.assigned"
    bead: BeadId
    actor: str
    by: str | None = None


class BeadReleased(TownEvent):
    """An agent let go of a bead: `gt done`, `gt unsling`, or a requeue seen in the database."""

    subject: ClassVar[str] = "bead.released"
    bead: BeadId
    actor: str
    how: Literal["done", "unhook", "requeue"]


class BeadState(TownEvent):
    """The fields that the three bead events share; the bead as it was read after the change."""

    free_text: ClassVar[tuple[str, ...]] = ("title", "reason")
    database: str
    bead: BeadId
    title: str = ""
    issue_type: str = "task"
    status: str = "open"
    assignee: str | None = None
    episode: int = 1
    """How often this bead has been opened: 1, and one more for each reopening."""


class BeadClosed(BeadState):
    """A bead went from open to closed. A second close of a closed bead is a `bead.updated`."""

    subject: ClassVar[str] = "bead.closed"
    reason: str = ""
    closed_by: str | None = None


class BeadReopened(BeadState):
    """A closed bead is open again."""

    subject: ClassVar[str] = "bead.reopened"


class BeadUpdated(BeadState):
    """Anything else changed: `changes` names the fields, never their text."""

    subject: ClassVar[str] = "bead.updated"
    changes: tuple[str, ...] = ()
    reason: str = ""
    """The close reason in force, when a closed bead was closed once more."""


class MergeDecided(TownEvent):
    """A merge request was closed; its reason says whether the work was taken, sent back, or had become void."""

    subject: ClassVar[str] = "merge.decided"
    free_text: ClassVar[tuple[str, ...]] = ("reason",)
    database: str
    request: BeadId
    """The merge request: a bead of its own, as a rule a wisp."""
    bead: BeadId
    """Whose work was handed in."""
    reason: str = ""
    actor: str | None = None
    """The agent whose work it was."""
    by: str | None = None
    commit_sha: str | None = None
    merge_commit: str | None = None
    submitted_at: Moment | None = None


class ExitReported(TownEvent):
    """`gt done` wrote on the agent's own bead how the work on another bead ended."""

    subject: ClassVar[str] = "exit.reported"
    bead: BeadId
    actor: str
    exit_type: Literal["COMPLETED", "ESCALATED", "DEFERRED", "PHASE_COMPLETE"]
    merge_failed: bool = False
    """The merge request could not be made."""
    push_failed: bool = False


class EscalationSent(TownEvent):
    """An agent asked for help: `gt escalate`."""

    subject: ClassVar[str] = "escalation.sent"
    actor: str
    bead: BeadId | None = None


class AgentNudged(TownEvent):
    """Somebody typed into an agent's session: `gt nudge`."""

    subject: ClassVar[str] = "agent.nudged"
    actor: str
    by: str | None = None


class SessionsDied(TownEvent):
    """Several sessions died within a short time: gt's `mass_death`. Each death is told by itself, too."""

    subject: ClassVar[str] = "sessions.died"
    tmux_sessions: tuple[str, ...]


class EstopRaised(TownEvent):
    """An emergency stop began, of one rig or of the whole town."""

    subject: ClassVar[str] = "estop.raised"
    rig: str | None = None
    trigger: Literal["manual", "auto", "unknown"] = "unknown"


class LandedCommit(Frozen):
    """A commit on a main branch whose message names a bead, or that merges a branch named after one."""

    sha: str
    bead: BeadId
    actor: str | None = None
    """The author, where it is an agent of the town."""
    authored_at: Moment
    landed_at: Moment


class RevertedCommit(Frozen):
    """A commit on a main branch that takes another one back; `sha` or `bead` say which."""

    by: str
    at: Moment
    sha: str | None = None
    bead: BeadId | None = None


class CommitsLanded(TownEvent):
    """What is new on the main branch of a rig's repository, as far as it bears on beads."""

    subject: ClassVar[str] = "commits.landed"
    repository: str
    """The rig's name. Not `rig`: commits are facts of the past, and no e-stop holds them."""
    commits: tuple[LandedCommit, ...] = ()
    reverts: tuple[RevertedCommit, ...] = ()


class BeadsSynced(TownEvent):
    """One poll of one database brought news; everything up to `high_water` has been told."""

    subject: ClassVar[str] = "beads.synced"
    database: str
    rows: int
    high_water: Moment
    beads: tuple[BeadId, ...] = ()
    """Those that the news is about."""


class ConfigChanged(TownEvent):
    """A file that tells agents how to behave has new content."""

    subject: ClassVar[str] = "config.changed"
    kind: Literal["claude_md", "agents_md", "context_md", "settings", "role", "directive", "overlay", "town"]
    path: str
    """Relative to the town root."""
    rig: str | None = None
    sha256: str | None = None
    """None: the file is gone."""
    previous_sha256: str | None = None
    valid: bool = True
    """False: it stayed unparsable after the wait for a half-written file."""


class FormulaChanged(TownEvent):
    """A formula has new content; `name` is the file's stem without `.formula`."""

    subject: ClassVar[str] = "formula.changed"
    name: str
    path: str
    sha256: str | None = None
    previous_sha256: str | None = None
    valid: bool = True


class GtLogged(TownEvent):
    """Any other line of gt's event feed, as it stands there."""

    subject: ClassVar[str] = "gt.logged"
    free_text: ClassVar[tuple[str, ...]] = ("payload",)
    type: str
    actor: str = ""
    payload: dict[str, Any] = Field(default_factory=dict)
