"""The engine against a bare loop: the same cases, the same checkpoint, the same batches, paired in one process.

    python perf/engine.py [--cases 64] [--rounds 5] [--new-tokens 16] [--threads 1]

Both sides decode the images and call ``TransformersTarget.generate``; the engine plans, hashes, stores every
answer in SQLite and judges it besides. The checkpoint is a LLaVA of about 60 million random parameters: on a
larger one, or on slower hardware, the share of the engine can only be smaller.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers
from PIL import Image

from pytest_mmsafety.cases import Case
from pytest_mmsafety.engine.batches import batches, windows
from pytest_mmsafety.engine.engine import Engine
from pytest_mmsafety.images import decode, digest, read_image
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.store import Store
from pytest_mmsafety.targets import Request
from pytest_mmsafety.targets.checkpoint.target import TransformersTarget

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import tiny_checkpoints

BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1, help="of torch; more than free cores make timings useless")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        target = TransformersTarget(
            str(_checkpoint(root / "llava")), max_new_tokens=str(arguments.new_tokens), device="cpu"
        )
        cases = _cases(root, arguments.cases)
        _bare(target, cases[:BATCH])  # loads the weights
        ratios = []
        for number in range(arguments.rounds):
            bare = _bare(target, cases)
            engine = _engine(target, cases, root / f"store-{number}.sqlite3")
            again = _bare(target, cases)
            ratios.append(engine / statistics.mean([bare, again]))
            print(f"bare {bare:.2f} s, engine {engine:.2f} s, bare {again:.2f} s: {ratios[-1]:.3f}", flush=True)
    print(f"engine / bare loop: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")


def _checkpoint(folder: Path) -> Path:
    """The tests' tiny LLaVA with its language model made wider and deeper."""
    tiny_checkpoints.build("llava", folder)
    config = transformers.LlavaConfig.from_pretrained(folder)
    config.text_config.update({"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 8})
    config.text_config.update({"num_attention_heads": 12, "num_key_value_heads": 12, "head_dim": 64})
    model = transformers.LlavaForConditionalGeneration(config)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f} million parameters", flush=True)
    model.save_pretrained(folder)
    return folder


def _cases(root: Path, count: int) -> list[Case]:
    cases = []
    for i in range(count):
        path = root / f"{i}.png"
        Image.effect_noise((160 + i % 7 * 16, 120), 60 + i % 40).convert("RGB").save(path)
        prompt = f"Is sentence {i} safe to say? " + "Think about it. " * (i % 12)
        cases.append(Case(str(i), "bench", prompt, "yes", (str(path),), {"benchmark": "bench"}))
    return cases


def _bare(target: TransformersTarget, cases: list[Case]) -> float:
    started = time.perf_counter()
    for window in windows(cases, BATCH):
        for batch in batches(window, BATCH):
            requests = []
            for case in batch:
                data = read_image(case.images[0])
                requests.append(Request(case.prompt, (decode(data, case.images[0]),), (digest(data),)))
            target.generate(requests)
    return time.perf_counter() - started


def _engine(target: TransformersTarget, cases: list[Case], store: Path) -> float:
    started = time.perf_counter()
    engine = Engine(lambda: _Kept(target), Panel(), Store(store), BATCH)
    engine.submit(cases)
    outcomes = engine.collect(cases, lambda: None)
    engine.close()
    seconds = time.perf_counter() - started
    assert all(outcome.response is not None for outcome in outcomes)
    return seconds


class _Kept:
    """The target without ``release``: the weights stay for the next round."""

    def __init__(self, target: TransformersTarget) -> None:
        self.name = target.name
        self.fingerprint = target.fingerprint
        self.generate = target.generate


if __name__ == "__main__":
    main()
