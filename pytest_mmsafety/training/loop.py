"""The loop that trains GuardRank's models: deterministic given a seed, and resumed to the same result."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judges.guardrank.lora import CONFIG, WEIGHTS, Shape, adapter_config, adapter_tensors, add_lora
from pytest_mmsafety.judges.guardrank.models import ENCODER_LENGTH, LEVELS, LLM_LENGTH, encoder_of, place_of
from pytest_mmsafety.targets.checkpoint.files import check_folder, first_line, quiet, require

if TYPE_CHECKING:
    from torch import Tensor

STATE = "checkpoint.safetensors"
ENCODER_WEIGHTS = "hallucination.safetensors"
WARM_UP = 0.06
"""Share of all steps in which the learning rate rises; afterwards it falls to zero, both in a straight line."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """All that decides the result, besides the base and the data."""

    lr: float
    epochs: int = 10
    batch_size: int = 16
    seed: int = 0
    patience: int = 3
    """Epochs without a better loss on the held-out prompts before the end."""
    held_out_prompts: float = 0.1
    """Share of the prompts that decides when to stop; above 0 and below 1."""
    held_out_models: tuple[str, ...] = ()
    """Whose answers are only measured, never trained on nor stopped by."""
    dropout: float = 0.5
    """Before the encoder's linear layer."""
    shape: Shape = field(default_factory=Shape)


PLANS = {"llm": TrainingConfig(lr=1e-4, epochs=3), "encoder": TrainingConfig(lr=2e-6)}


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled answer."""

    text: str
    """What the model reads."""
    label: int
    prompt: str
    model: str
    """Who answered, or empty."""


@dataclass(frozen=True, slots=True)
class Split:
    """Examples by what they are for; each is in one place."""

    train: Sequence[Example]
    validation: Sequence[Example]
    """Held-out prompts, models that were trained on."""
    other_models: Sequence[Example]
    """Held-out models, on any prompt."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How a model does on some examples."""

    n: int
    loss: float
    accuracy: float
    macro_f1: float


# --- models


@dataclass
class Trainee:
    """A model with what training needs of it."""

    torch: Any
    model: Any
    forward: Callable[[Any, list[list[int]]], Any]
    """(padded ids, rows) -> logits, float32."""
    encode: Callable[[str], list[int]]
    pad: int
    device: str
    save: Callable[[Mapping[str, Tensor], Path], None]
    """Writes trained parameters into a folder, as files that the judge reads."""

    @property
    def trained(self) -> dict[str, Any]:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def logits(self, texts: Sequence[str]) -> Any:
        rows = [self.encode(text) for text in texts]
        longest = max(map(len, rows))
        padded = [row + [self.pad] * (longest - len(row)) for row in rows]
        return self.forward(self.torch.tensor(padded, device=self.device), rows)


def llm_trainee(base: Path, plan: TrainingConfig, device: str = "cpu", dtype: str = "float32") -> Trainee:
    """LoRA and a fresh head of four levels on a frozen *base*, in float32 beside a base of *dtype*."""
    torch, transformers = require("torch"), require("transformers")
    check_folder(base, "--base")
    with _loading(base):
        torch.manual_seed(plan.seed)
        tokenizer = transformers.AutoTokenizer.from_pretrained(base)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=LEVELS, dtype=dtype, use_safetensors=True
        )
        if not hasattr(model, "score") or tokenizer.eos_token_id is None:
            raise SetupError(f"--base: {base} is no LLaMA-like model with an end-of-text token")
        model.to(device)
        add_lora(model, plan.shape)
        model.score.float()
        torch.nn.init.normal_(model.score.weight, std=0.02)  # the library's own draw depends on how it loads
        model.score.requires_grad_(requires_grad=True)
    eos = tokenizer.eos_token_id

    def forward(ids: Any, rows: list[list[int]]) -> Any:
        hidden = model.base_model(ids, use_cache=False).last_hidden_state
        places = torch.tensor([place_of(row, eos, "last") for row in rows], device=ids.device)
        return model.score(hidden[torch.arange(len(rows), device=ids.device), places].float())

    def save(trained: Mapping[str, Tensor], folder: Path) -> None:
        _write_tensors(adapter_tensors(trained), folder / WEIGHTS[0])
        (folder / CONFIG).write_text(adapter_config(base.name, plan.shape, "score"), encoding="utf-8")

    return Trainee(torch, model, forward, encoder_of(tokenizer, LLM_LENGTH), eos, device, save)


def encoder_trainee(base: Path, plan: TrainingConfig, device: str = "cpu") -> Trainee:
    """All of a RoBERTa and a linear layer of two labels behind its pooled output, in float32."""
    torch, transformers = require("torch"), require("transformers")
    check_folder(base, "--base")
    with _loading(base):
        torch.manual_seed(plan.seed)
        tokenizer = transformers.AutoTokenizer.from_pretrained(base)
        config = transformers.AutoConfig.from_pretrained(base)
        if config.model_type != "roberta":
            raise SetupError(f"--base: {base} is of type {config.model_type!r}; expected 'roberta'")
        body = transformers.RobertaModel.from_pretrained(base, dtype="float32", use_safetensors=True)
        torch.manual_seed(plan.seed)  # how many numbers loading draws is the library's affair
        torch.nn.init.normal_(body.pooler.dense.weight, std=config.initializer_range)
        linear = torch.nn.Linear(config.hidden_size, 2)
        torch.nn.init.ones_(linear.bias)  # behind a ReLU that begins closed nothing is ever learned
        model = torch.nn.ModuleDict({"roberta": body, "linear": linear}).to(device)
    drop = torch.nn.Dropout(plan.dropout)
    model["dropout"] = drop

    def forward(ids: Any, rows: list[list[int]]) -> Any:
        lengths = torch.tensor([len(row) for row in rows], device=ids.device)
        mask = (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]).long()
        return torch.relu(linear(drop(body(input_ids=ids, attention_mask=mask).pooler_output)))

    def save(trained: Mapping[str, Tensor], folder: Path) -> None:
        _write_tensors(trained, folder / ENCODER_WEIGHTS)

    return Trainee(torch, model, forward, encoder_of(tokenizer, ENCODER_LENGTH), config.pad_token_id, device, save)


@contextlib.contextmanager
def _loading(base: Path) -> Iterator[None]:
    try:
        with quiet():
            yield
    except SetupError:
        raise
    except Exception as error:
        raise SetupError(f"--base: {base} cannot be loaded: {first_line(error)}") from error


# --- training


def train(  # noqa: PLR0913 - what is trained, on what, how, where to, and who is told
    trainee: Trainee,
    parts: Split,
    plan: TrainingConfig,
    folder: Path,
    *,
    facts: str = "",
    save_every: int = 200,
    tell: Callable[[str], None] = lambda _: None,
    on_step: Callable[[int, float], None] = lambda _step, _loss: None,
) -> dict[str, Quality]:
    """Train until the held-out prompts get no better, write the best model into *folder*, and measure it.

    Every *save_every* steps and after every epoch the whole state is written; the next call with the same *facts*
    (what else identifies the training) goes on from it and ends with the same weights, on the same kind of device.
    Raises :class:`SetupError` if *folder* holds a checkpoint of another training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _deterministic(trainee.torch):
        run = _Run(trainee, plan, len(parts.train), folder / STATE, f"{facts} {_digest(parts)}")
        run.restore()
        while run.epoch < plan.epochs and run.stale < plan.patience:
            for batch in run.batches_left():
                loss = run.learn([parts.train[i] for i in batch])
                on_step(run.step, loss)
                if run.step % save_every == 0:
                    run.save()
            validation = measure(trainee, parts.validation)
            if run.note(validation.loss):
                best = {name: parameter.detach() for name, parameter in trainee.trained.items()}
                trainee.save(best, folder)
                _write_tensors(best, folder / f"best-{STATE}")
            run.save()
            tell(f"epoch {run.epoch}: loss {run.mean_loss:.4f}, held-out prompts {validation.loss:.4f}")
        run.recall(folder / f"best-{STATE}")
        found = {"held-out prompts": measure(trainee, parts.validation)}
        if parts.other_models:
            found["held-out models"] = measure(trainee, parts.other_models)
    return found


class _Run:
    """The state of a training: everything that a checkpoint must bring back."""

    def __init__(self, trainee: Trainee, plan: TrainingConfig, size: int, file: Path, facts: str) -> None:
        self._trainee, self._plan, self._size, self._file = trainee, plan, size, file
        self._torch = trainee.torch
        self._facts = hashlib.sha256(json.dumps([asdict(plan), facts]).encode()).hexdigest()
        decayed = [p for p in trainee.trained.values() if p.dim() > 1]
        plain = [p for p in trainee.trained.values() if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
        self._optimizer = self._torch.optim.AdamW([g for g in groups if g["params"]], lr=plan.lr, foreach=False)
        self._steps = -(-size // plan.batch_size)
        self.step = self.epoch = self.stale = 0
        self._best = float("inf")
        self._losses: list[float] = []
        """Of this epoch."""
        self.mean_loss = float("nan")
        self._torch.manual_seed(plan.seed)

    def batches_left(self) -> list[list[int]]:
        """The rest of this epoch, in an order that only the seed and the epoch decide."""
        order = list(range(self._size))
        random.Random(f"{self._plan.seed} {self.epoch}").shuffle(order)  # noqa: S311 - not a secret
        size = self._plan.batch_size
        return [order[i : i + size] for i in range(0, self._size, size)][self.step - self.epoch * self._steps :]

    def learn(self, examples: Sequence[Example]) -> float:
        """One step; returns the loss before it."""
        torch, total = self._torch, self._steps * self._plan.epochs
        warm = max(1, round(WARM_UP * total))
        share = min((self.step + 1) / warm, (total - self.step) / max(1, total - warm + 1))
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.lr * share
        self._trainee.model.train()
        logits = self._trainee.logits([example.text for example in examples])
        labels = torch.tensor([example.label for example in examples], device=logits.device)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        if not torch.isfinite(loss):
            raise SetupError(
                f"--lr={self._plan.lr:g}: the loss at step {self.step} is {loss.item()}; try a smaller one"
            )
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self._trainee.trained.values()), 1.0)
        self._optimizer.step()
        self.step += 1
        self._losses.append(loss.item())
        return self._losses[-1]

    def note(self, loss: float) -> bool:
        """End the epoch with its *loss* on held-out prompts; whether it is the best so far."""
        better = loss < self._best
        self._best = min(self._best, loss)
        self.stale = 0 if better else self.stale + 1
        self.mean_loss = sum(self._losses) / max(1, len(self._losses))
        self._losses = []
        self.epoch += 1
        return better

    def save(self) -> None:
        torch = self._torch
        tensors = {f"p {name}": p.detach() for name, p in self._trainee.trained.items()}
        for name, parameter in self._trainee.trained.items():
            tensors |= {f"{key} {name}": value for key, value in self._optimizer.state[parameter].items()}
        tensors["rng cpu"] = torch.get_rng_state()
        if self._trainee.device.startswith("cuda"):
            tensors["rng device"] = torch.cuda.get_rng_state(self._trainee.device)
        numbers = {"step": self.step, "epoch": self.epoch, "stale": self.stale, "losses": self._losses}
        metadata = {"facts": self._facts, "state": json.dumps({**numbers, "best": self._best})}
        _write_tensors(tensors, self._file, metadata)

    def restore(self) -> None:
        if not self._file.exists():
            return
        try:
            with require("safetensors").safe_open(self._file, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("facts") != self._facts:
                    raise SetupError(
                        f"--to: {self._file} is of another training (options, base or data differ); give --restart or"
                        " another folder"
                    )
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
                state = json.loads(metadata["state"])
        except SetupError:
            raise
        except Exception as error:  # noqa: BLE001 - a damaged file raises anything
            raise SetupError(f"--to: {self._file} cannot be read: {first_line(error)}; give --restart") from None
        self.step, self.epoch, self.stale = state["step"], state["epoch"], state["stale"]
        self._best, self._losses = state["best"], state["losses"]
        with self._torch.no_grad():
            for name, parameter in self._trainee.trained.items():
                parameter.copy_(tensors[f"p {name}"])
                kept = {key: tensors.get(f"{key} {name}") for key in ("step", "exp_avg", "exp_avg_sq")}
                if kept["step"] is not None:
                    moved = {k: v if k == "step" or v is None else v.to(parameter.device) for k, v in kept.items()}
                    self._optimizer.state[parameter] = moved
        self._torch.set_rng_state(tensors["rng cpu"])
        if "rng device" in tensors:
            self._torch.cuda.set_rng_state(tensors["rng device"], self._trainee.device)

    def recall(self, best: Path) -> None:
        """Put the best weights back."""
        tensors = require("safetensors.torch").load_file(best)
        with self._torch.no_grad():
            for name, parameter in self._trainee.trained.items():
                parameter.copy_(tensors[name])


def measure(trainee: Trainee, examples: Sequence[Example], batch_size: int = 32) -> Quality:
    """Mean loss, accuracy and macro-F1 over the labels that occur."""
    torch = trainee.torch
    trainee.model.eval()
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].text))
    losses, said, labels = 0.0, [], []
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            some = [examples[i] for i in order[start : start + batch_size]]
            logits = trainee.logits([example.text for example in some])
            truth = torch.tensor([example.label for example in some], device=logits.device)
            losses += torch.nn.functional.cross_entropy(logits, truth, reduction="sum").item()
            said += logits.argmax(dim=1).tolist()
            labels += truth.tolist()
    pairs = list(zip(said, labels, strict=True))
    f1 = [
        2 * pairs.count((label, label)) / (said.count(label) + labels.count(label))
        for label in sorted(set(said) | set(labels))
    ]
    return Quality(len(pairs), losses / len(pairs), sum(a == b for a, b in pairs) / len(pairs), sum(f1) / len(f1))


@contextlib.contextmanager
def _deterministic(torch: Any) -> Iterator[None]:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _digest(parts: Split) -> str:
    texts = [[(e.text, e.label) for e in part] for part in (parts.train, parts.validation)]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write beside, then rename: a kill leaves the old file or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        require("safetensors.torch").save_file(plain, beside, metadata)
        beside.replace(path)
    finally:
        with contextlib.suppress(OSError):  # what went wrong before says more
            beside.unlink(missing_ok=True)
