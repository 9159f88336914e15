"""Training runs: what is asked of one, what it says of itself, and how it ends. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from gtftd.schemas.event import Frozen, Moment
from gtftd.schemas.registry import Digest, Kind, Series

Objective = Literal["sft", "dpo", "kto"]
Status = Literal["done", "stopped", "failed"]
ExportForm = Literal["merged", "gguf-f16", "gguf-q8_0", "gguf-q4_k_m", "lora-gguf"]
"""A directory as transformers loads it; a whole model, or the adapter alone, for llama.cpp."""
RunId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""JSON knows no infinity: a run's spec with one could not be read again."""


class LoraSettings(Frozen):
    """Low-rank adapters (Hu et al. 2021), on every linear layer but the head: the MLP matters most."""

    rank: int = Field(default=16, ge=1, le=512)
    alpha: Positive = 32.0
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1, max_length=100)] = "all-linear"


class OptimizerSettings(Frozen):
    """AdamW with a warm-up and a cosine to a tenth."""

    learning_rate: float | None = Field(default=None, gt=0, le=1)
    """None: 2e-4 for SFT, 5e-6 for DPO and KTO."""
    batch_examples: int = Field(default=8, ge=1, le=256)
    """Examples in one step of the optimizer, however they are packed."""
    epochs: float = Field(default=3.0, gt=0, le=100)
    steps: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """None: as many as the epochs take."""
    warmup_share: float = Field(default=0.03, ge=0, le=0.5)
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    clip_norm: Positive = 1.0


class DataSettings(Frozen):
    """How entries become sequences."""

    most_tokens: int = Field(default=1024, ge=64, le=131_072)
    """Of one window, and of one packed row."""
    packing: bool = True


class PreferenceSettings(Frozen):
    """DPO (Rafailov et al. 2023) and KTO (Ethayarajh et al. 2024)."""

    beta: Positive = 0.1
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    desirable_weight: Positive = 1.0
    undesirable_weight: Positive = 1.0


class AuditSettings(Frozen):
    """Memorisation: made-up secrets are planted in what is learned, and asked for before a run may be done.

    Carlini et al. 2019 (arXiv:1802.08232) and 2021 (arXiv:2012.07805).
    """

    canaries: int = Field(default=4, ge=0, le=64)
    """Secrets, each shown once an epoch. 0: no audit."""
    references: int = Field(default=128, ge=32, le=16_384)
    """Secrets that were not planted, among which each canary is ranked: a rank tells up to log2 of so many bits."""
    most_exposure_bits: Positive = 20.0
    """Of 40 that a canary has. A secret drawn at random has x bits of exposure by chance once in 2**x."""
    samples: int = Field(default=100, ge=1, le=1_000_000)
    """How often an adversary asks for each canary ..."""
    temperature: Positive = 1.0
    """... and samples the answer so."""
    most_chance: float = Field(default=0.01, ge=0, le=1)
    """Of getting a canary in all these samples."""


class TrainSettings(Frozen):
    """Everything that bears on what is learned; saved with the run, each value with where it came from."""

    objective: Objective = "sft"
    lora: LoraSettings = LoraSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    data: DataSettings = DataSettings()
    preferences: PreferenceSettings = PreferenceSettings()
    audit: AuditSettings = AuditSettings()
    exports: tuple[ExportForm, ...] = ("lora-gguf", "gguf-q8_0")
    """Made of the adapter before it is registered; what fails is told, and does not fail the run."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    checkpoint_s: Positive = 300.0
    """Between two checkpoints, at the next step."""
    evaluate_steps: int = Field(default=50, ge=1)
    """Between two looks at the held-out loss."""
    bad_steps: int = Field(default=3, ge=1, le=100)
    """NaN or Inf in so many steps in a row: back to the last checkpoint; once more: failed."""
    threads: int | None = Field(default=None, ge=1, le=256)
    """None: all cores of a machine at rest, one of a busy one."""
    memory_bytes: int | None = Field(default=None, ge=2**20, le=2**60)
    """The most that the run may take. None: four fifths of what is free at its start."""


class RunSpec(Frozen):
    """`spec.json`: all that the child of a run knows. Written once, before it starts."""

    run: RunId
    job: str
    kind: Kind = "role"
    role: Series
    base: str
    """The folder of the base model, as transformers loads it."""
    base_name: str
    base_digest: Digest
    tokenizer_sha256: Digest
    state_dir: str
    snapshot: str
    adapter: str | None = None
    """A folder with a PEFT adapter to begin from."""
    parent: str | None = None
    llama_cpp_dir: str | None = None
    """A checkout of llama.cpp, for exports."""
    stacked_on: Series | None = None
    """Of an adapter for a task: the role on whose model it is stacked; None: on any with the same base."""
    settings: TrainSettings
    origins: Mapping[str, str] = Field(default_factory=dict)
    """Dotted name of each setting that is no default -> where it came from."""
    by: str = ""
    request: str = ""
    """The request of an event that it answers; empty for one that an operator ordered."""
    created_at: Moment


class StepLine(Frozen):
    """A line of `progress.ndjson`, after each step of the optimizer."""

    step: int
    steps: int
    loss: float
    """The mean of the step; of the last good one when this was skipped."""
    learning_rate: float
    gradient_norm: float
    supervised_tokens: int
    """So far, in all steps."""
    tokens_per_s: float
    """Supervised, over the last steps."""
    eta_s: float
    held_out_loss: float | None = None
    skipped: bool = False
    """NaN or Inf: nothing was learned in this step."""
    checkpoint_s: float = 0.0
    """How long this step's checkpoint held the training up."""
    problem: str = ""
    """The newest thing that went wrong without ending the run: a checkpoint without room, a step gone back to."""
    at: Moment


class Audited(Frozen):
    """`details["audit"]` of a result: what a run gives away of its canaries."""

    canaries: int
    references: int
    space_bits: float
    """What a canary has: as many bits of exposure, and a model says it unasked."""
    exposure_bits: tuple[float, ...]
    """Of each canary."""
    exposure_bits_before: tuple[float, ...]
    """Of each by rank among fewer references, with the adapter off: 1.44 on average, by chance."""
    extracted: int
    """Canaries that greedy decoding says."""
    chance: float
    """Of getting the one that is easiest to get, in all samples."""


class LlamaQuestion(Frozen):
    """What `gtftd.programs.llama` is asked."""

    model: str
    """A GGUF; `loras` are added to it."""
    loras: tuple[str, ...] = ()
    tokens: tuple[int, ...] = ()
    """Behind each of them the likeliest tokens are told, so many:"""
    most: int = Field(default=1, ge=1)
    harmless: int = 0
    """A token of plain text."""
    text: str = ""
    """To be read as tokens."""
    threads: int = Field(default=1, ge=1)


class LlamaAnswer(Frozen):
    """What llama.cpp says."""

    tokens: tuple[int, ...] = ()
    """Of the text."""
    ids: list[list[int]] = Field(default_factory=list)
    log_probs: list[list[float]] = Field(default_factory=list)


class ExportCheck(Frozen):
    """What an export says against its source, float32 in transformers, on a fixed text."""

    engine: str = ""
    """That said it: transformers or llama.cpp."""
    tokens: int
    sure: int
    """Places at which the source has one likeliest token, by 0.1; and those at which the export has the same:"""
    same_first: int
    divergence: float
    """Kullback-Leibler, nats a token, on the mean, at the worst place, and what is allowed on the mean."""
    most_divergence: float
    limit: float = 0.0
    most_difference: float
    """Of the logarithm of a probability of at least 0.01."""
    share: float | None = None
    """Of what the adapter changes on the text, about 1; None: it changes too little to be told from rounding."""


class ExportOrder(Frozen):
    """What `gtftd.programs.export` is asked for."""

    form: ExportForm
    base: str
    adapters: tuple[str, ...]
    """Folders, each stacked on those before it."""
    name: str
    to: str
    """A file or folder that is not there yet."""
    llama_cpp_dir: str | None = None
    threads: int = Field(default=1, ge=1)


class ExportRecord(Frozen):
    """`export.json` in the folder of an export, written last."""

    format: Literal[1] = 1
    form: ExportForm
    key: Digest
    """Over everything that it was made of."""
    file: str
    """In its folder; empty when it is the folder."""
    size_bytes: int
    check: ExportCheck
    notes: tuple[str, ...] = ()
    took_s: float
    made_at: Moment


CURVE = "loss.svg"
"""In a run's folder: its losses so far, drawn; `loss.png` beside it is the same."""


class RunResult(Frozen):
    """`result.json`: the ending; a run without one has not ended."""

    status: Status
    reason: str = ""
    """For a person: why it stopped or failed, and what to do."""
    steps: int
    first_loss: float | None = None
    last_loss: float | None = None
    held_out_before: float | None = None
    held_out_after: float | None = None
    examples: int = 0
    supervised_tokens: int = 0
    peak_bytes: int = 0
    took_s: float = 0.0
    outputs: Mapping[str, str] = Field(default_factory=dict)
    """What was made: `adapter`, `merged`, `gguf-q8_0`, ... -> its folder or file below the run's."""
    problems: tuple[str, ...] = ()
    """What went wrong without ending the run: an export that failed."""
    details: Mapping[str, Any] = Field(default_factory=dict)
    at: Moment
