"""Training against TRL with PEFT: the same examples, base, adapter settings, rate and threads, in turns.

Run: python benchmarks/training.py --base DIR [--objective sft|dpo] [--dtype bfloat16] [--rounds N]
     python benchmarks/training.py --base DIR --parity
     python benchmarks/training.py --make-llama DIR --base DIR     a random 56M Llama with the tokenizer of --base
Needs `pip install -e '.[train]' trl==1.16.0`. DIR: a base as `gtftctl base list` shows it. Each racer is a process of
its own; `trl-checkpointing` is TRL with its default of recomputing activations, which trades speed for memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training_data import Work, describe, make

RACERS = Path(__file__).with_name("training_racers.py")


def main() -> None:
    options = _parse()
    if options.make_llama:
        make_llama(options.base, options.make_llama)
        return
    with tempfile.TemporaryDirectory() as name:
        if options.parity:
            from training_parity import compare

            compare(options, Path(name))
        else:
            race(options, Path(name))


def race(options: argparse.Namespace, folder: Path) -> None:
    work = Work(options.objective, options.steps * options.batch, options.tokens, options.batch)
    data = folder / "data"
    print("examples  ", describe(make(work, options.base, data)))
    given = {"work": asdict(work), "base": str(options.base), "data": str(data), "threads": options.threads}
    given |= {"dtype": options.dtype, "steps": options.steps, "rate": 2e-4 if options.objective == "sft" else 5e-6}
    names = ["ours", "trl", *(["trl-checkpointing"] if options.checkpointing else [])]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(options.rounds):
        for name in names if number % 2 == 0 else reversed(names):
            runs[name].append(_run(name, given, options.threads))
            print(f"{name:18}", _figures(runs[name][-1]), flush=True)
    for name in names[1:]:
        for label, key in (("wall", "seconds"), ("processor", "cpu_s")):
            ratios = [
                (our["units"] / our[key]) / (their["units"] / their[key])
                for our, their in zip(runs["ours"], runs[name], strict=True)
            ]
            print(f"ours / {name}, {label}: {statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})")
        peaks = [our["peak_bytes"] / their["peak_bytes"] for our, their in zip(runs["ours"], runs[name], strict=True)]
        print(f"ours / {name}, peak memory: {statistics.median(peaks):.2f} x")


def _run(name: str, given: dict[str, Any], threads: int) -> dict[str, Any]:
    told = subprocess.run(
        [sys.executable, RACERS, name, json.dumps(given)], capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip
    if told.returncode:
        raise SystemExit(f"{name} failed:\n{told.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return found


def _figures(run: dict[str, Any]) -> str:
    told = f" ({run['estimated_bytes'] / 2**20:.0f} told)" if run["estimated_bytes"] else ""
    return (
        f"{run['units'] / run['seconds']:7.2f} /s   {run['units'] / run['cpu_s']:7.2f} /cpu-s   "
        f"{run['peak_bytes'] / 2**20:6.0f} MiB{told}   loss {run['losses'][0]:.4f} -> {run['losses'][-1]:.4f}"
    )


def make_llama(base: Path, folder: Path) -> None:
    """56 million random weights under the vocabulary of `base`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    like = json.loads((base / "config.json").read_text())
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=like["vocab_size"], hidden_size=512, intermediate_size=1408, num_hidden_layers=10,
        num_attention_heads=8, num_key_value_heads=4, max_position_embeddings=2048, tie_word_embeddings=True,
        bos_token_id=like.get("bos_token_id"), eos_token_id=like.get("eos_token_id"),
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(base / name, folder / name)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million weights in {folder}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--objective", choices=("sft", "dpo"), default="sft")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=1024, help="of a window, and of a packed row")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the base, for both")
    parser.add_argument("--checkpointing", action="store_true", help="TRL as it recomputes activations, too")
    parser.add_argument("--parity", action="store_true")
    parser.add_argument("--make-llama", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
