"""Those who race in `training.py`, each in a process of its own: `python benchmarks/training_racers.py NAME JSON`.

Prints one line of JSON: seconds and processor seconds from the second step to the last, what was learned in them, the
process's peak memory, and the loss of every step. The first step is left out of the times, for all: it warms up.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training_data import Work, as_trl, make

from gtftd.training import memory


@dataclass(frozen=True)
class Race:
    work: Work
    base: Path
    data: Path
    threads: int
    steps: int
    rate: float = 2e-4
    adapter: str = ""
    """A fresh adapter that both begin from; empty: each makes its own."""
    dtype: str = "float32"
    """Of the base; adapters are float32."""


@dataclass
class Finish:
    seconds: float = 0.0
    cpu_s: float = 0.0
    units: int = 0
    """Supervised tokens, or pairs, in those seconds."""
    peak_bytes: int = 0
    estimated_bytes: int = 0
    """What we would have told before; 0 for those who do not."""
    losses: list[float] = field(default_factory=list)


class Watch:
    """Told of the beginning of each step, and of the end of the last."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def mark(self) -> None:
        self.marks.append((time.perf_counter(), time.process_time()))

    def fill(self, finish: Finish) -> None:
        (began, cpu), (ended, cpu_end) = self.marks[1], self.marks[-1]
        finish.seconds, finish.cpu_s = ended - began, cpu_end - cpu
        finish.peak_bytes = memory.peak_bytes()


def ours(race: Race) -> Finish:
    import torch

    from gtftd.programs.train import CHECKPOINTS
    from gtftd.schemas.training import TrainSettings
    from gtftd.training import determinism
    from gtftd.training.checkpoint import Checkpoints, TrainState
    from gtftd.training.loop import Inputs, Loop
    from gtftd.training.lora import attach
    from gtftd.training.model import load_base
    from gtftd.training.objectives import make_objective
    from gtftd.training.progress import Journal, read_progress

    settings = TrainSettings.model_validate(
        {"objective": race.work.objective, "data": {"most_tokens": race.work.most_tokens, "packing": race.work.packing},
         "optimizer": {"batch_examples": race.work.batch_examples, "learning_rate": race.rate, "steps": race.steps}}
    )  # fmt: skip
    examples = make(race.work, race.base, race.data)
    memory.use_blocks_again()
    determinism.prepare(race.threads)
    causal = load_base(race.base, dtype=getattr(torch, race.dtype))
    determinism.seed(0)
    learner = attach(causal, settings.lora, begin=Path(race.adapter) if race.adapter else None, kind="role")
    watch = Watch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / CHECKPOINTS).mkdir()
        inputs = Inputs(
            learner, make_objective(settings, learner), examples, None, Checkpoints(folder / CHECKPOINTS),
            Journal(folder), settings,
        )  # fmt: skip
        fresh = TrainState(steps=race.steps, peak_rate=race.rate, threads=race.threads)

        def stop() -> bool:
            watch.mark()
            return False

        Loop(inputs, fresh, stop=stop).run()
        watch.mark()
        lines = list(read_progress(folder))
    finish = Finish(losses=[line.loss for line in lines])
    finish.units = lines[-1].supervised_tokens - lines[0].supervised_tokens
    if race.work.objective == "dpo":
        finish.units = race.work.batch_examples * (race.steps - 1)
    shape = memory.read_shape(race.base)
    finish.estimated_bytes = memory.estimate(
        shape, settings, row_tokens=examples.longest_row, weight_bytes=causal.dtype.itemsize
    ).total
    watch.fill(finish)
    return finish


def trl(race: Race, *, checkpointing: bool = False) -> Finish:
    """TRL with PEFT: its own packing for SFT, its own loss kernels, the same adapter."""
    import torch

    torch.set_num_threads(race.threads)
    from datasets import Dataset
    from peft import LoraConfig, PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    os.environ["HF_HUB_OFFLINE"] = "1"
    examples = make(race.work, race.base, race.data)
    rows = as_trl(examples)
    watch, counted = Watch(), [0]
    dtype = getattr(torch, race.dtype)
    model: Any = AutoModelForCausalLM.from_pretrained(race.base, dtype=dtype, attn_implementation="sdpa")
    tokenizer = AutoTokenizer.from_pretrained(race.base)
    config: Any = LoraConfig(
        r=16, lora_alpha=32.0, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    if race.adapter:
        model = PeftModel.from_pretrained(model, race.adapter, is_trainable=True)
        config = None

    class Marks(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            watch.mark()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            watch.mark()

    with tempfile.TemporaryDirectory() as name:
        trainer = _trainer(race, name, model, tokenizer, config, Dataset.from_list(rows), checkpointing=checkpointing)
        step = trainer.training_step

        def counting(model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            if len(watch.marks) > 1:
                labels = inputs.get("labels")
                counted[0] += (
                    int((labels[:, 1:] != -100).sum()) if labels is not None else len(inputs["input_ids"]) // 2
                )
            return step(model, inputs, *rest, **more)

        trainer.training_step = counting
        trainer.add_callback(Marks())
        trainer.train()
    finish = Finish(losses=[entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    finish.units = counted[0]
    watch.fill(finish)
    return finish


def _trainer(
    race: Race, folder: str, model: Any, tokenizer: Any, config: Any, rows: Any, *, checkpointing: bool
) -> Any:
    import torch
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    common: dict[str, Any] = {
        "output_dir": folder, "per_device_train_batch_size": 1, "max_steps": race.steps, "learning_rate": race.rate,
        "bf16": race.dtype == "bfloat16", "gradient_checkpointing": checkpointing, "logging_steps": 1,
        "save_strategy": "no", "report_to": "none", "use_cpu": not torch.cuda.is_available(), "max_grad_norm": 1.0,
        "seed": 0, "lr_scheduler_type": "cosine", "dataloader_pin_memory": False, "disable_tqdm": True,
    }  # fmt: skip
    if race.work.objective == "dpo":
        args = DPOConfig(
            **common, gradient_accumulation_steps=race.work.batch_examples, max_length=race.work.most_tokens * 2
        )
        return _pretokenised(DPOTrainer)(
            model=model, args=args, train_dataset=rows, processing_class=tokenizer, peft_config=config
        )
    packed = SFTConfig(
        **common, packing=race.work.packing, max_length=race.work.most_tokens, dataset_num_proc=None,
        gradient_accumulation_steps=_rows_a_step(race, rows),
    )  # fmt: skip
    return SFTTrainer(model=model, args=packed, train_dataset=rows, processing_class=tokenizer, peft_config=config)


def _pretokenised(trainer: Any) -> Any:
    """TRL tokenises preferences itself, always; these are tokens already."""

    class Given(trainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    return Given


def _rows_a_step(race: Race, rows: Any) -> int:
    """As many packed rows as hold what ours learns from in a step."""
    if not race.work.packing:
        return race.work.batch_examples
    tokens = sum(map(len, rows["input_ids"]))
    return max(1, round(tokens / race.work.most_tokens / (len(rows) / race.work.batch_examples)))


RACERS = {"ours": ours, "trl": trl, "trl-checkpointing": lambda race: trl(race, checkpointing=True)}


def main() -> None:
    name, given = sys.argv[1], json.loads(sys.argv[2])
    work = Work(**given.pop("work"))
    race = Race(work=work, base=Path(given.pop("base")), data=Path(given.pop("data")), **given)
    print(json.dumps(asdict(RACERS[name](race))))


if __name__ == "__main__":
    main()
