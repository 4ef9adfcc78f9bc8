"""GuardRank as the plugin runs it against GuardRank as the released code does: same checkpoints, same answers, one run.

    python perf/guardrank_throughput.py [--answers 1000] [--rounds 2] [--threads 1]
    python perf/guardrank_throughput.py --cuda    # the shapes of LLaMA-2-7B and roberta-large, random weights

The reference is written from the description of the released code: float32, LoRA beside the weights, every text padded
to 512 (LLM) or 256 (encoder) tokens, a batch of one. Lengths are natural: answers are log-normal in words with a median
of 74 and sigma 1.07, as measured on 5,634 answers of six models to the 939 questions of Do-Not-Answer, and ``--cap``
ends them after 128 tokens, as MLLMGuard's inference does; prompts have 5 to 30 words. Both sides are timed without
loading, in turns. On a GPU the reference reads every 20th answer only, and its time is scaled.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pytest_mmsafety.judges.guardrank.judge import ENCODER_INPUT, LABELS, LLM_INPUT, GuardRank

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import guardrank_reference as reference
import tiny_guardrank

DIMENSIONS = ("privacy", "bias", "toxicity", "legality")
SMALL = (
    {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4},
    {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4},
)
PUBLISHED = (
    {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
    {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
)
MEDIAN, SPREAD = 74, 1.07


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of torch; more than free cores make timings useless")
    parser.add_argument("--cap", type=int, default=128, help="tokens after which an answer ends")
    parser.add_argument("--dtype", default="auto", help="of our side; bfloat16 where a CPU computes it fast")
    parser.add_argument("--cuda", action="store_true", help="published shapes on a GPU, bfloat16 against float32")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        llm, encoder = PUBLISHED if arguments.cuda else SMALL
        files = tiny_guardrank.build(Path(folder), llm, encoder)
        judge = GuardRank(files.arguments | {"device": "cuda" if arguments.cuda else "cpu", "dtype": arguments.dtype})
        released = {"llm": reference.Llm(files), "encoder": reference.Encoder(files)}
        if arguments.cuda:
            released["llm"].model.cuda()
            released["encoder"].cuda()
        for part in ("llm", "encoder"):
            compare(part, judge, released[part], arguments)


def compare(part: str, judge: GuardRank, released: Any, arguments: argparse.Namespace) -> None:
    rows = answers(part, released.tokenizer, arguments)
    template = LLM_INPUT if part == "llm" else ENCODER_INPUT
    texts = [template.format(dimension=d, prompt=p, response=r) for d, p, r in rows]
    scorer = judge.scorer(part)
    lengths = [len(scorer.encode(text)) for text in texts]
    print(f"{part}: {len(rows)} answers, tokens of the input: median {statistics.median(lengths):.0f}, "
          f"mean {statistics.mean(lengths):.0f}, longest {max(lengths)}")  # fmt: skip
    every = 20 if arguments.cuda else 1
    scorer.logits(texts[:8])
    [released.logits(row) for row in rows[:2]]
    ratios = []
    for _ in range(arguments.rounds):
        ours, logits = timed(lambda: scorer.logits(texts))
        theirs, wanted = timed(lambda: [released.logits(row) for row in rows[::every]])
        same = sum(reference.argmax(a) == reference.argmax(b) for a, b in zip(logits[::every], wanted, strict=True))
        apart = (torch.tensor(logits[::every]) - torch.tensor(wanted)).abs().max()
        ratios.append(theirs * every / ours)
        print(f"  released {theirs * every:.1f} s, ours {ours:.1f} s: {ratios[-1]:.1f}x; "
              f"labels equal {same}/{len(wanted)}, logits at most {apart:.1e} apart", flush=True)  # fmt: skip
    print(f"{part}: median {statistics.median(ratios):.1f}x of {len(LABELS[part])} labels")


def answers(part: str, tokenizer: Any, arguments: argparse.Namespace) -> list[reference.Row]:
    drawn = tiny_guardrank.pairs(arguments.answers, median=MEDIAN, spread=SPREAD)
    dimension = (lambda i: DIMENSIONS[i % 4]) if part == "llm" else (lambda _: "hallucination")
    return [
        (dimension(i), prompt, cut(response, tokenizer, arguments.cap)) for i, (prompt, response) in enumerate(drawn)
    ]


def cut(text: str, tokenizer: Any, most: int) -> str:
    """*text* up to about *most* tokens."""
    tokens = len(tokenizer(text)["input_ids"])
    return text if tokens <= most else text[: len(text) * most // tokens]


def timed(work: Callable[[], list[list[float]]]) -> tuple[float, list[list[float]]]:
    """Seconds and the result: wall time on a GPU, CPU time of this process otherwise, as others may use the CPU too."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    started = clock()
    result = work()  # ends with numbers on the CPU, so nothing is left on the device
    return clock() - started, result


if __name__ == "__main__":
    main()
