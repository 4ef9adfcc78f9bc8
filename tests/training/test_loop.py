"""The loop on models of a handful of numbers: quality by hand, the plan of steps, and a training that was cut anywhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_guardrank
import torch
import transformers as hf
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.training.loop import (
    STATE,
    WARM_UP,
    Example,
    Quality,
    Split,
    Trainee,
    TrainingConfig,
    _Run,
    encoder_trainee,
    llm_trainee,
    measure,
    train,
)

LABELS = 3
PLAN = TrainingConfig(lr=0.1, epochs=4, batch_size=4, seed=2, patience=9)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trainee(logits: Sequence[Sequence[float]] | None = None, dropout: float = 0.0) -> Trainee:
    """Reads one word, a number, and gives the logits that stand in its row of a table, and a bias."""
    torch.manual_seed(0)
    table = torch.nn.Embedding(8, LABELS)
    if logits is not None:
        table.weight.data[: len(logits)] = torch.tensor(logits)
    model = torch.nn.ModuleDict({"table": table, "drop": torch.nn.Dropout(dropout)})
    model.register_parameter("bias", torch.nn.Parameter(torch.zeros(LABELS)))

    def forward(ids: Any, rows: list[list[int]]) -> Any:
        return model["drop"](table(ids[:, 0])) + model.bias

    def save(trained: Any, folder: Path) -> None:
        save_file({name: tensor.clone() for name, tensor in trained.items()}, folder / "best.safetensors")

    return Trainee(torch, model, forward, lambda text: [int(word) for word in text.split()], 0, "cpu", save)


def examples(*pairs: tuple[str, int]) -> list[Example]:
    return [Example(text, label, f"prompt {i}", "") for i, (text, label) in enumerate(pairs)]


DATA = Split(
    train=examples(*[(str(i % 6), i % LABELS) for i in range(11)]),
    validation=examples(*[(str(i % 6), i % LABELS) for i in range(6)]),
    other_models=[],
)


# --- quality


def test_quality_is_what_the_definitions_say() -> None:
    """Three of four right: F1 of label 0 is 2/3, of label 1 is 4/5; label 2 does not occur."""
    of = trainee([[2.0, 0.0, -9.0], [0.0, 1.0, -9.0]])
    found = measure(of, examples(("0", 0), ("1", 1), ("1", 1), ("1", 0)))
    rows = [([2.0, 0.0, -9.0], 0), ([0.0, 1.0, -9.0], 1), ([0.0, 1.0, -9.0], 1), ([0.0, 1.0, -9.0], 0)]
    losses = [math.log(sum(map(math.exp, row))) - row[label] for row, label in rows]
    assert found.n == 4
    assert found.loss == pytest.approx(sum(losses) / 4, rel=1e-5)
    assert found.accuracy == 0.75
    assert found.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2)), min_size=1, max_size=20), st.integers(1, 25))
def test_quality_does_not_depend_on_the_batch(pairs: list[tuple[int, int]], size: int) -> None:
    of, some = trainee(), examples(*[(str(word), label) for word, label in pairs])
    one, other = measure(of, some, size), measure(of, some, 1)
    assert (one.n, one.accuracy, one.macro_f1) == (other.n, other.accuracy, pytest.approx(other.macro_f1))
    assert one.loss == pytest.approx(other.loss, rel=1e-5)


def test_a_label_that_is_only_said_counts_in_the_mean_over_labels() -> None:
    found = measure(trainee([[0.0, 0.0, 5.0]]), examples(("0", 0), ("0", 0)))
    assert (found.accuracy, found.macro_f1) == (0.0, 0.0)
    assert measure(trainee([[5.0, 0.0, 0.0]]), examples(("0", 0))).macro_f1 == 1.0


def test_nothing_is_dropped_while_measuring() -> None:
    of = trainee([[4.0, 0.0, 0.0]], dropout=0.9)
    of.model.train()
    assert {measure(of, examples(("0", 0))).loss for _ in range(5)} == {measure(of, examples(("0", 0))).loss}


def test_rows_are_padded_to_the_longest_with_the_padding_of_the_model() -> None:
    seen: list[Any] = []
    of = replace(
        trainee(), pad=7, forward=lambda ids, rows: seen.append((ids.tolist(), rows)) or torch.zeros(2, LABELS)
    )
    of.logits(["1 2 3", "4"])
    assert seen == [([[1, 2, 3], [4, 7, 7]], [[1, 2, 3], [4]])]


# --- the plan of steps


def run(of: Trainee, folder: Path, plan: TrainingConfig = PLAN, size: int = 11) -> _Run:
    return _Run(of, plan, size, folder / STATE, "facts")


@given(size=st.integers(1, 40), batch=st.integers(1, 9), seed=st.integers(0, 5))
def test_an_epoch_has_every_example_once_and_goes_on_where_it_was(size: int, batch: int, seed: int) -> None:
    plan = replace(PLAN, batch_size=batch, seed=seed)
    here = run(trainee(), Path(), plan, size)
    whole = here.batches_left()
    assert sorted(i for some in whole for i in some) == list(range(size))
    assert all(len(some) == batch for some in whole[:-1])
    here.step = len(whole) // 2
    assert here.batches_left() == whole[len(whole) // 2 :]
    here.step, here.epoch = len(whole), 1
    assert sorted(i for some in here.batches_left() for i in some) == list(range(size))


def test_the_order_is_another_one_in_each_epoch_and_for_each_seed() -> None:
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        here = run(trainee(), Path(), replace(PLAN, seed=seed), 30)
        here.epoch, here.step = epoch, epoch * 8
        orders.append(str(here.batches_left()))
    assert len(set(orders)) == 3
    assert str(run(trainee(), Path(), replace(PLAN, seed=0), 30).batches_left()) == orders[0]


@pytest.mark.parametrize(("size", "epochs"), [(4, 1), (40, 5), (11, 4)])
def test_the_learning_rate_rises_in_a_line_and_falls_in_another(tmp_path: Path, size: int, epochs: int) -> None:
    of, plan = trainee(), replace(PLAN, epochs=epochs)
    here = run(of, tmp_path, plan, size)
    total = -(-size // plan.batch_size) * epochs
    warm = max(1, round(WARM_UP * total))
    rates = []
    for _ in range(total):
        here.learn(examples(("1", 0)))
        rates.append(here._optimizer.param_groups[0]["lr"])
    rising = [plan.lr * (i + 1) / warm for i in range(warm)]
    falling = [plan.lr * (total - i) / (total - warm + 1) for i in range(warm, total)]
    assert rates == pytest.approx(rising + falling)
    assert max(rates) == pytest.approx(plan.lr)
    assert min(rates) > 0


def test_matrices_decay_and_biases_do_not(tmp_path: Path) -> None:
    of = trainee()
    groups = run(of, tmp_path)._optimizer.param_groups
    found = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert found == {id(of.trained["table.weight"]): 0.01, id(of.trained["bias"]): 0.0}
    of.model["table"].weight.requires_grad_(False)
    assert [group["weight_decay"] for group in run(of, tmp_path)._optimizer.param_groups] == [0.0]


def test_a_step_returns_the_loss_before_it_and_lowers_it(tmp_path: Path) -> None:
    of, some = trainee([[0.0, 0.0, 0.0]]), examples(("0", 1))
    here = run(of, tmp_path)
    losses = [here.learn(some) for _ in range(5)]
    assert losses[0] == pytest.approx(math.log(LABELS))
    assert losses == sorted(losses, reverse=True)
    assert here.step == 5


def test_epochs_without_a_better_loss_are_counted(tmp_path: Path) -> None:
    here = run(trainee(), tmp_path)
    here._losses = [1.0, 2.0]
    assert [here.note(loss) for loss in (0.5, 0.5, 0.7, 0.4, 0.6)] == [True, False, False, True, False]
    assert (here.epoch, here.stale, here._best) == (5, 1, 0.4)
    assert here.mean_loss == 0.0
    here._losses = [1.0, 2.0]
    here.note(1.0)
    assert (here.mean_loss, here._losses) == (1.5, [])


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_loss_that_is_no_number_says_what_to_change(tmp_path: Path, bad: float) -> None:
    of = trainee([[bad, 0.0, 0.0]])
    with pytest.raises(SetupError, match=r"^--lr=0\.1: the loss at step 0 is (nan|inf); try a smaller one$"):
        run(of, tmp_path).learn(examples(("0", 1)))


# --- the whole training


def stop_at(step: int) -> Callable[[int, float], None]:
    def on_step(at: int, _: float) -> None:
        if at == step:
            raise InterruptedError

    return on_step


@pytest.mark.parametrize("cut", range(1, 13))
def test_a_training_cut_at_any_step_ends_with_the_same_weights(tmp_path: Path, cut: int) -> None:
    whole = train(trainee(dropout=0.3), DATA, PLAN, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        train(trainee(dropout=0.3), DATA, PLAN, tmp_path / "cut", save_every=2, on_step=stop_at(cut))
    steps: list[int] = []
    again = train(trainee(dropout=0.3), DATA, PLAN, tmp_path / "cut", on_step=lambda step, _: steps.append(step))
    assert steps[0] <= cut
    assert steps[-1] == 12
    assert again == whole
    one, other = (load_file(tmp_path / name / STATE) for name in ("whole", "cut"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_best_epoch_is_written_measured_and_left_in_the_model(tmp_path: Path) -> None:
    of, lines = trainee(), list[str]()
    found = train(of, DATA, replace(PLAN, lr=3.0, epochs=6), tmp_path, tell=lines.append)
    losses = [float(line.rpartition(" ")[2]) for line in lines]
    assert [line.partition(":")[0] for line in lines] == [f"epoch {i}" for i in range(1, 7)]
    assert found == {"held-out prompts": measure(of, DATA.validation)}
    assert found["held-out prompts"].loss == pytest.approx(min(losses), abs=1e-4)
    best = load_file(tmp_path / "best.safetensors")
    assert best.keys() == {"table.weight", "bias"}
    assert all(torch.equal(best[name], parameter) for name, parameter in of.trained.items())


def test_a_training_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    first = train(trainee(), DATA, PLAN, tmp_path)
    steps: list[int] = []
    assert train(trainee(), DATA, PLAN, tmp_path, on_step=lambda step, _: steps.append(step)) == first
    assert steps == []


def test_patience_ends_it_and_held_out_models_are_measured_apart(tmp_path: Path) -> None:
    """Labels to be told apart by nothing: after the first epochs the held-out loss only rises."""
    turned = Split(DATA.train, examples(*[(e.text, (e.label + 1) % LABELS) for e in DATA.validation]), DATA.train[:2])
    lines: list[str] = []
    found = train(
        trainee([[0.0] * LABELS] * 8), turned, replace(PLAN, epochs=50, patience=2), tmp_path, tell=lines.append
    )
    assert len(lines) == 3, "one epoch that is the best so far, and two more"
    assert set(found) == {"held-out prompts", "held-out models"}
    assert found["held-out models"].n == 2


@pytest.mark.parametrize("change", ["facts", "plan", "training data", "validation data"])
def test_a_state_of_another_training_is_refused(tmp_path: Path, change: str) -> None:
    train(trainee(), DATA, PLAN, tmp_path, facts="llm base")
    plan = replace(PLAN, patience=1) if change == "plan" else PLAN
    data = replace(DATA, train=DATA.train[::-1]) if change == "training data" else DATA
    data = replace(data, validation=DATA.validation[1:]) if change == "validation data" else data
    with pytest.raises(SetupError, match=r"is of another training .*give --restart or another folder$"):
        train(trainee(), data, plan, tmp_path, facts="other" if change == "facts" else "llm base")


def test_a_state_holds_what_the_optimizer_knows_and_no_half_of_it_is_left(tmp_path: Path) -> None:
    train(trainee(), DATA, PLAN, tmp_path)
    kinds = Counter(name.partition(" ")[0] for name in load_file(tmp_path / STATE))
    assert kinds == {"p": 2, "step": 2, "exp_avg": 2, "exp_avg_sq": 2, "rng": 1}
    with safe_open(tmp_path / STATE, framework="pt") as file:
        assert file.metadata().keys() == {"facts", "state"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([STATE, f"best-{STATE}", "best.safetensors"])


def test_what_kept_a_state_from_being_written_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "taken"

    def take(_: int, __: float) -> None:
        folder.rmdir()
        folder.touch()

    with pytest.raises(SafetensorError, match="Not a directory"):
        train(trainee(), DATA, PLAN, folder, save_every=1, on_step=take)


def test_a_state_without_a_word_of_what_it_is_is_refused(tmp_path: Path) -> None:
    save_file({"p bias": torch.zeros(LABELS)}, tmp_path / STATE)
    with pytest.raises(SetupError, match="is of another training"):
        train(trainee(), DATA, PLAN, tmp_path)


def test_a_state_that_lacks_a_weight_is_one_line(tmp_path: Path) -> None:
    train(trainee(), DATA, PLAN, tmp_path)
    with safe_open(tmp_path / STATE, framework="pt") as file:
        metadata = file.metadata()
    save_file({"rng cpu": torch.get_rng_state()}, tmp_path / STATE, metadata | {"state": "{"})
    with pytest.raises(SetupError, match=r"^--to: .* cannot be read: .*; give --restart$"):
        train(trainee(), DATA, PLAN, tmp_path)


def test_determinism_is_asked_for_during_the_training_alone(tmp_path: Path) -> None:
    during: list[bool] = []
    before = torch.are_deterministic_algorithms_enabled()
    with pytest.raises(InterruptedError):
        train(
            trainee(), DATA, PLAN, tmp_path,
            on_step=lambda *_: during.append(torch.are_deterministic_algorithms_enabled()) or stop_at(1)(1, 0.0),
        )  # fmt: skip
    assert during == [True]
    assert torch.are_deterministic_algorithms_enabled() == before


def test_the_learned_table_is_separable(tmp_path: Path) -> None:
    data = Split(*[examples(*[(str(i % 3), i % 3) for i in range(12)])] * 2, other_models=[])
    found = train(trainee(), data, replace(PLAN, epochs=30), tmp_path)["held-out prompts"]
    assert found == Quality(12, pytest.approx(0, abs=0.2), 1.0, 1.0)  # type: ignore[arg-type]


# --- bases


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tiny_guardrank.Files:
    files = tiny_guardrank.build(tmp_path_factory.mktemp("bases"))
    hf.RobertaModel(hf.RobertaConfig.from_pretrained(files.encoder)).save_pretrained(files.encoder)
    return files


def test_a_base_of_another_kind_is_one_line(files: tiny_guardrank.Files, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"^--base: .*roberta is no LLaMA-like model with an end-of-text token$"):
        llm_trainee(files.encoder, PLAN)
    with pytest.raises(SetupError, match=r"^--base: .*llama is of type 'llama'; expected 'roberta'$"):
        encoder_trainee(files.llm, PLAN)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    for make in (llm_trainee, encoder_trainee):
        with pytest.raises(SetupError) as error:
            make(tmp_path, PLAN)
        assert str(error.value).startswith(f"--base: {tmp_path} cannot be loaded: ")
        assert "\n" not in str(error.value)


def test_of_the_llm_only_adapters_and_head_are_trained_and_it_begins_as_its_base(files: tiny_guardrank.Files) -> None:
    of = llm_trainee(files.llm, PLAN)
    names = {name.rpartition(".")[2] for name in of.trained}
    assert names == {"lora_A", "lora_B", "weight"}
    assert [name for name in of.trained if name.endswith(".weight")] == ["score.weight"]
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in of.trained if "lora" in name} == {"q_proj", "v_proj"}
    ids = of.encode("Is it safe?")
    base = hf.AutoModel.from_pretrained(files.llm).eval()
    of.model.eval()
    with torch.inference_mode():
        wanted = base(torch.tensor([ids])).last_hidden_state[0, -1] @ of.model.score.weight.T
        assert torch.allclose(of.logits(["Is it safe?"])[0], wanted, atol=1e-5)


def test_logits_of_both_models_do_not_depend_on_the_batch(files: tiny_guardrank.Files) -> None:
    texts = ["Is it safe?", "Is it safe to answer a long question about a picture? " * 5, "是"]
    for of in (llm_trainee(files.llm, PLAN), encoder_trainee(files.encoder, PLAN)):
        of.model.eval()
        with torch.inference_mode():
            together = of.logits(texts)
            alone = torch.cat([of.logits([text]) for text in texts])
        assert torch.allclose(together, alone, atol=1e-5)


def test_two_trainees_of_one_seed_begin_alike(files: tiny_guardrank.Files) -> None:
    for make, base in ((llm_trainee, files.llm), (encoder_trainee, files.encoder)):
        one, two, other = (make(base, replace(PLAN, seed=seed)).trained for seed in (1, 1, 2))
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert not all(torch.equal(one[name], other[name]) for name in one)


def test_the_head_of_the_encoder_begins_open(files: tiny_guardrank.Files) -> None:
    """Behind a ReLU that begins closed nothing is ever learned."""
    of = encoder_trainee(files.encoder, PLAN)
    assert of.trained["linear.bias"].tolist() == [1.0, 1.0]
    assert len(of.trained) == len(list(of.model.named_parameters())), "all of it is trained"
