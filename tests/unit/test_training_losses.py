"""Losses: their values and gradients against the plain forms, however tokens are laid out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from gtftd.errors import Invalid
from gtftd.schemas.registry import Kind
from gtftd.schemas.training import LoraSettings, OptimizerSettings, TrainSettings
from gtftd.training import determinism, lora, losses, model, schedule
from gtftd.training.batches import Batch, Pair
from gtftd.training.layout import lay_completions, lay_row
from gtftd.training.model import Learner
from gtftd.training.objectives import Dpo, Kto, References, Sft, lay_pair, log_probs, log_probs_apart, make_objective
from tests.support.tiny_base import tiny_base
from tests.support.training_run import apart, some_completion, some_pair, some_row

FLOAT = 1e-5
"""Sums of float32 in another order: about a hundred roundings of 6e-8."""
pytestmark = pytest.mark.usefixtures("float32")


def make_learner(
    folder: Path, family: str = "llama", *, dropout: float = 0.0, stirred: bool = True, made: Path | None = None
) -> Learner:
    """`stirred`: the adapter does something, as after some steps."""
    determinism.prepare(1)
    determinism.seed(0)
    base = made or tiny_base(folder / family, family=family)
    learner = lora.attach(model.load_base(base), LoraSettings(rank=4, dropout=dropout), begin=None, kind="role")
    if stirred:
        with torch.no_grad():
            for tensor in learner.adapter.values():
                tensor.add_(torch.randn_like(tensor) * 0.05)
    return learner


def gradients(learner: Learner) -> torch.Tensor:
    """All of them in one line; they are forgotten then."""
    parts = [parameter.grad for parameter in learner.adapter.values()]
    found = torch.cat([part.flatten() for part in parts if part is not None])
    for parameter in learner.adapter.values():
        parameter.grad = None
    return found


def close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = FLOAT) -> bool:
    return bool((actual - expected).norm() <= tolerance * expected.norm())


@pytest.mark.parametrize("tokens", [1, 255, 256, 700])
def test_the_loss_in_chunks_is_the_loss_of_whole_logits(tokens: int) -> None:
    """Values and gradients to 1e-6, relative: the sums over the vocabulary are the same ones."""
    torch.manual_seed(0)
    hidden = torch.randn(tokens, 32, requires_grad=True)
    head, bias, wanted = torch.randn(500, 32), torch.randn(500), torch.randint(0, 500, (tokens,))
    weights = torch.rand(tokens)

    mine = losses.token_losses(hidden, head, bias, wanted)
    (gradient,) = torch.autograd.grad((mine * weights).sum(), hidden)
    plain = functional.cross_entropy(functional.linear(hidden, head, bias), wanted, reduction="none")
    (expected,) = torch.autograd.grad((plain * weights).sum(), hidden)

    assert close(mine, plain, 1e-6)
    assert close(gradient, expected, 1e-6)


def test_labels_are_shifted_by_one_within_a_sequence() -> None:
    """What predicts a token is the token before it in its own sequence."""
    row = some_row(np.random.default_rng(0), (3, 4))
    row.supervised[:] = [False, True, True, False, True, False, True]
    targets = losses.shift(lay_row(row))
    assert targets.where.tolist() == [0, 1, 3, 5]
    assert targets.tokens.tolist() == row.tokens[[1, 2, 4, 6]].tolist()
    assert targets.branches.tolist() == [0, 0, 1, 1]


def test_each_completion_is_predicted_from_the_end_of_the_prompt() -> None:
    """The first token of the second completion is not predicted by the last of the first."""
    prompt, first, second = (np.arange(size, dtype=np.int32) for size in (3, 2, 2))
    layout = lay_completions(prompt, [(first, np.ones(2, np.bool_)), (second, np.ones(2, np.bool_))])
    targets = losses.shift(layout)
    assert targets.where.tolist() == [2, 3, 2, 5]
    assert layout.positions.tolist() == [0, 1, 2, 3, 4, 3, 4]


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_a_packed_row_gives_what_its_sequences_give_alone(tmp_path: Path, family: str) -> None:
    """Loss and gradients to 1e-5: packing changes nothing but the order of sums."""
    learner = make_learner(tmp_path, family)
    row = some_row(np.random.default_rng(1), (13, 40, 7))
    sft = Sft(learner)
    whole = sum(piece.item() for piece in _backward(sft.pieces(Batch(rows=(row,)))))
    packed = gradients(learner)
    parts = sum(piece.item() for piece in _backward(sft.pieces(Batch(rows=tuple(apart(row))))))
    assert whole == pytest.approx(parts, rel=FLOAT)
    assert close(packed, gradients(learner))


def test_a_window_of_attention_is_kept(tmp_path: Path) -> None:
    """In packed rows and pairs as in HF's own attention over one sequence."""
    base = tiny_base(tmp_path / "base", family="mistral")
    config = json.loads((base / "config.json").read_text()) | {"sliding_window": 6}
    (base / "config.json").write_text(json.dumps(config))
    learner = lora.attach(model.load_base(base), LoraSettings(), begin=None, kind="role")
    random = np.random.default_rng(10)
    row, pair = some_row(random, (20, 5, 9)), some_pair(random)
    packed, together = learner.token_losses(lay_row(row))[0], log_probs(learner, lay_pair(pair), 2)
    learner.causal.set_attn_implementation("sdpa")
    for one in apart(row):
        logits = learner.causal(input_ids=torch.from_numpy(one.tokens).long()[None]).logits[0, :-1]
        plain = functional.cross_entropy(logits, torch.from_numpy(one.tokens[1:]).long(), reduction="none")
        wanted = plain[torch.from_numpy(one.supervised[1:])]
        assert close(packed[: len(wanted)], wanted)
        packed = packed[len(wanted) :]
    for said, completion in zip(together, (pair.chosen, pair.rejected), strict=True):
        tokens = torch.from_numpy(np.concatenate([pair.prompt, completion])).long()
        logits = learner.causal(input_ids=tokens[None]).logits[0, len(pair.prompt) - 1 : -1]
        assert close(said, -functional.cross_entropy(logits, tokens[len(pair.prompt) :], reduction="sum"))


def test_the_log_prob_of_a_completion_is_summed_without_rounding(tmp_path: Path) -> None:
    """Of a thousand nats float32 keeps 6e-5, which is more than the first steps of a preference move."""
    learner = make_learner(tmp_path)
    pair = some_pair(np.random.default_rng(12), 5, 300, 280)
    found, (each, targets) = log_probs(learner, lay_pair(pair), 2), learner.token_losses(lay_pair(pair))
    for branch in (1, 2):
        told = [loss.item() for loss in each[targets.branches == branch]]
        assert found[branch - 1].item() == pytest.approx(-math.fsum(told), rel=1e-14)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_pair_gives_what_its_completions_give_alone(tmp_path: Path, family: str) -> None:
    """The prompt computed once, or twice: the same log-probs and gradients to 1e-5."""
    learner = make_learner(tmp_path, family)
    pair = some_pair(np.random.default_rng(2))
    together = log_probs(learner, lay_pair(pair), 2)
    _backward([together[0] - together[1]])
    shared = gradients(learner)
    alone = log_probs_apart(learner, pair)
    _backward([alone[0] - alone[1]])
    assert close(together, alone)
    assert close(shared, gradients(learner))


def test_the_mean_is_over_all_supervised_tokens_of_a_step(tmp_path: Path) -> None:
    """Not a mean of means: a row with one supervised token does not count as much as one with twenty."""
    learner = make_learner(tmp_path)
    rows = apart(some_row(np.random.default_rng(3), (5, 60)))
    loss = sum(piece.item() for piece in Sft(learner).pieces(Batch(rows=tuple(rows))))
    sums = [learner.token_losses(lay_row(row))[0] for row in rows]
    assert loss == pytest.approx(torch.cat(sums).mean().item(), rel=FLOAT)


def test_a_weight_of_an_example_counts(tmp_path: Path) -> None:
    """For each of its tokens, packed or not; what weighs nothing teaches nothing, and alone it is no step."""
    learner = make_learner(tmp_path)
    packed = some_row(np.random.default_rng(3), (9, 40))
    alone = [learner.token_losses(lay_row(row))[0] for row in apart(packed)]
    weighed = Batch(rows=(replace(packed, weights=(1.0, 0.25)),))
    loss = sum(piece.item() for piece in Sft(learner).pieces(weighed))
    expected = (alone[0].sum() + 0.25 * alone[1].sum()) / (len(alone[0]) + 0.25 * len(alone[1]))
    assert loss == pytest.approx(expected.item(), rel=FLOAT)
    nothing = Batch(rows=(replace(packed, weights=(0.0, 0.0)),))
    assert (0.0, []) == (Sft(learner).weigh(nothing), list(Sft(learner).pieces(nothing)))


@pytest.mark.parametrize("begun", [False, True])
def test_dpo_begins_at_ln_2(tmp_path: Path, begun: bool) -> None:
    """Policy and reference are the same model at step 0, also when it began from an adapter."""
    learner = make_learner(tmp_path, stirred=False)
    if begun:
        learner = _go_on_from(tmp_path, learner)
    pairs = tuple(some_pair(np.random.default_rng(number)) for number in range(3))
    dpo = make_objective(TrainSettings(objective="dpo"), learner)
    loss = sum(piece.item() for piece in dpo.pieces(Batch(pairs=pairs)))
    assert loss == pytest.approx(math.log(2), abs=1e-6)


def test_dpo_is_equation_7(tmp_path: Path) -> None:
    """Against the formula, with the reference's log-probs from the model whose adapter does nothing."""
    learner = make_learner(tmp_path)
    pair = some_pair(np.random.default_rng(4))
    policy = log_probs_apart(learner, pair).detach()
    now = learner.copy_adapter()
    learner.put_adapter({name: torch.zeros_like(tensor) for name, tensor in now.items()})
    reference = log_probs_apart(learner, pair).detach()
    learner.put_adapter(now)
    settings = TrainSettings(objective="dpo").preferences
    margin = settings.beta * ((policy[0] - reference[0]) - (policy[1] - reference[1]))
    expected = -math.log(1 / (1 + math.exp(-margin)))
    (loss,) = Dpo(learner, settings).pieces(Batch(pairs=(pair,)))
    assert loss.item() == pytest.approx(expected, rel=FLOAT)


def test_smoothed_dpo_doubts_the_labels() -> None:
    """A share of the label goes to the other order (Mitchell 2023)."""
    chosen, rejected = torch.tensor(3.0), torch.tensor(-1.0)
    right = losses.dpo_loss(chosen, rejected, beta=0.5)
    wrong = losses.dpo_loss(rejected, chosen, beta=0.5)
    smoothed = losses.dpo_loss(chosen, rejected, beta=0.5, label_smoothing=0.2)
    assert smoothed.item() == pytest.approx(0.8 * right.item() + 0.2 * wrong.item(), rel=1e-6)


def test_a_weight_of_a_pair_counts(tmp_path: Path) -> None:
    """The mean is weighted: two pairs of weight 3 and 1."""
    learner = make_learner(tmp_path)
    first, second = (some_pair(np.random.default_rng(number)) for number in (5, 6))
    heavy = Pair(**{**vars(first), "weight": 3.0})
    dpo = make_objective(TrainSettings(objective="dpo"), learner)
    alone = [sum(piece.item() for piece in dpo.pieces(Batch(pairs=(pair,)))) for pair in (first, second)]
    both = sum(piece.item() for piece in dpo.pieces(Batch(pairs=(heavy, second))))
    assert both == pytest.approx((3 * alone[0] + alone[1]) / 4, rel=FLOAT)


@pytest.mark.parametrize("good", [True, False])
def test_kto_is_equation_8(good: bool) -> None:
    """Weight minus value, and the value falls towards the wrong side of the baseline."""
    ratio, baseline = torch.tensor(2.0), torch.tensor(0.5)
    sign = 1 if good else -1
    expected = 1.5 * (1 - 1 / (1 + math.exp(-0.3 * sign * 1.5)))
    assert losses.kto_loss(ratio, baseline, good=good, beta=0.3, weight=1.5).item() == pytest.approx(expected, rel=1e-6)


def test_the_baseline_of_kto_is_of_mismatched_pairs(tmp_path: Path) -> None:
    """Each prompt with the next completion; never below 0, and no gradient flows through it."""
    learner = make_learner(tmp_path)
    random = np.random.default_rng(8)
    completions = [some_completion(random, good=bool(number % 2)) for number in range(3)]
    kto = Kto(learner, TrainSettings().preferences)
    ratios = []
    for one, other in zip(completions, [*completions[1:], completions[0]], strict=True):
        layout = lay_completions(one.prompt, [(other.completion, other.supervised)])
        with learner.reference():
            reference = log_probs(learner, layout, 1).item()
        ratios.append(log_probs(learner, layout, 1).item() - reference)
    baseline = kto.baseline(completions)
    assert baseline.item() == pytest.approx(max(0.0, sum(ratios) / 3), rel=1e-4, abs=1e-5)
    assert not baseline.requires_grad
    assert kto.baseline(completions[:1]).item() == 0.0


def test_the_reference_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    """Also when it is the adapter that we began from."""
    learner = _go_on_from(tmp_path, make_learner(tmp_path))
    for tensor in learner.adapter.values():
        tensor.data.mul_(1.5)
    before = learner.copy_adapter()
    with learner.reference():
        assert all(torch.equal(tensor, learner.begun[name]) for name, tensor in learner.copy_adapter().items())  # type: ignore[index]
    after = learner.copy_adapter()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_task_is_stacked_on_its_role(tmp_path: Path) -> None:
    """At its start it says what the role's model says; what it learns is its own."""
    role = make_learner(tmp_path)
    lora.write_adapter(role, tmp_path / "role", base_name="tiny")
    base = model.load_base(tmp_path / "llama")
    task = lora.attach(base, LoraSettings(rank=2), begin=tmp_path / "role", kind="task")
    layout = lay_row(some_row(np.random.default_rng(9), (30,)))
    assert close(task.token_losses(layout)[0], role.token_losses(layout)[0])
    assert all(min(tensor.shape) == 2 for tensor in task.adapter.values())


@pytest.mark.parametrize("kind", ["role", "task"])
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_a_harmed_adapter_is_not_begun_from(tmp_path: Path, kind: Kind, harm: Callable[[Path], object]) -> None:
    """The message says which file; no hub is asked for one that is gone."""
    lora.write_adapter(make_learner(tmp_path), tmp_path / "role", base_name="tiny")
    harm(tmp_path / "role" / lora.WEIGHTS)
    with pytest.raises(Invalid, match=r"role/adapter_model\.safetensors cannot be read"):
        lora.attach(model.load_base(tmp_path / "llama"), LoraSettings(rank=4), begin=tmp_path / "role", kind=kind)


def test_an_adapter_of_another_rank_is_not_gone_on_with(tmp_path: Path) -> None:
    """The message says which rank it has."""
    lora.write_adapter(make_learner(tmp_path), tmp_path / "role", base_name="tiny")
    with pytest.raises(Invalid, match=r"has rank 4, the settings 8: set lora\.rank"):
        lora.attach(model.load_base(tmp_path / "llama"), LoraSettings(rank=8), begin=tmp_path / "role", kind="role")


@pytest.mark.parametrize(("target", "why"), [("no_proj", "no_proj"), ("norm", "RMSNorm")])
def test_targets_that_cannot_be_adapted_are_named(tmp_path: Path, target: str, why: str) -> None:
    base = tiny_base(tmp_path / "llama")
    with pytest.raises(Invalid, match=rf"lora\.targets.*{why}"):
        lora.attach(model.load_base(base), LoraSettings(rank=4, targets=(target,)), begin=None, kind="role")


def test_an_adapter_that_adapts_more_is_not_gone_on_with(tmp_path: Path) -> None:
    """What has no place would be lost without a word, and the run would begin from something else."""
    lora.write_adapter(make_learner(tmp_path), tmp_path / "role", base_name="tiny")
    fewer = LoraSettings(rank=4, targets=("q_proj", "v_proj"))
    with pytest.raises(Invalid, match=r"also adapts .*k_proj.* \(20 tensors more .*lora.targets"):
        lora.attach(model.load_base(tmp_path / "llama"), fewer, begin=tmp_path / "role", kind="role")


@pytest.mark.parametrize("window", [None, 3, 6])
@pytest.mark.parametrize("sizes", [(1, 5, 2), (1, 1, 1), (2, 12, 1), (7, 0, 3), (7, 3, 0), (1, 0, 0)])
def test_a_pair_of_any_size_gives_what_its_completions_give_alone(
    tmp_path: Path, sizes: tuple[int, int, int], window: int | None
) -> None:
    """A prompt of one token, a completion without any, a window shorter than the prompt: against HF's own attention."""
    base = tiny_base(tmp_path / "mistral", family="mistral")
    config = json.loads((base / "config.json").read_text()) | {"sliding_window": window}
    (base / "config.json").write_text(json.dumps(config))
    learner = make_learner(tmp_path, "mistral", made=base)
    pair = some_pair(np.random.default_rng(sum(sizes)), *sizes)
    together, references = log_probs(learner, lay_pair(pair), 2), References(learner).log_probs(lay_pair(pair), 2)
    assert (2, 2) == (len(together), len(references))
    learner.causal.set_attn_implementation("sdpa")
    for said, completion in zip(together, (pair.chosen, pair.rejected), strict=True):
        tokens = torch.from_numpy(np.concatenate([pair.prompt, completion])).long()
        logits = learner.causal(input_ids=tokens[None]).logits[0, len(pair.prompt) - 1 : -1]
        expected = -functional.cross_entropy(logits, tokens[len(pair.prompt) :], reduction="sum")
        assert said.item() == pytest.approx(expected.item(), rel=FLOAT)


def test_every_linear_layer_but_the_head_is_adapted(tmp_path: Path) -> None:
    """Seven in each of two layers, two factors each, in float32."""
    learner = make_learner(tmp_path)
    assert len(learner.adapter) == 2 * 7 * 2
    assert not any("lm_head" in name or "embed" in name for name in learner.adapter)
    assert {tensor.dtype for tensor in learner.adapter.values()} == {torch.float32}


def test_the_rate_warms_up_and_falls_to_a_tenth() -> None:
    """The peak stands right after the warm-up, the tenth at the last step."""
    rates = [schedule.learning_rate(step, 100, peak=1.0, warmup_share=0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1)


@pytest.mark.parametrize(("examples", "steps"), [(1, 3), (8, 3), (9, 6), (491, 186)])
def test_steps_follow_from_the_corpus(examples: int, steps: int) -> None:
    """Three epochs of batches of 8, each of which ends with a batch of what is left."""
    assert schedule.count_steps(OptimizerSettings(), examples) == steps


def _backward(pieces: object) -> list[torch.Tensor]:
    """Go backward on each before taking the next."""
    taken = []
    for piece in pieces:  # type: ignore[attr-defined]
        piece.backward()
        taken.append(piece.detach())
    return taken


def _go_on_from(folder: Path, learner: Learner) -> Learner:
    """A role's run that begins from what another one learned."""
    with torch.no_grad():
        for tensor in learner.adapter.values():
            tensor.add_(0.01)
    lora.write_adapter(learner, folder / "before", base_name="tiny")
    return lora.attach(model.load_base(folder / "llama"), LoraSettings(rank=4), begin=folder / "before", kind="role")
