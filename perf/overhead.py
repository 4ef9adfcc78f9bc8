"""What the plugin costs a case: time and memory of whole processes, beyond an empty pytest run.

    python perf/overhead.py [--sizes 1000 20000] [--repeat 3]

An instant target answers synthetic text cases; every other part is real: suite file, items, engine,
SQLite store, judge, gates, run file. Prints a table; the slope between the sizes is what grows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

TARGET = """
def answer(requests):
    return ["Yes." if len(request.prompt) % 3 else "No." for request in requests]
"""
SUITE = """
suite: synthetic
benchmark: mmsafeaware
group_by: [category, language]
cases: synthetic.jsonl
"""
POLICY = """
policy: synthetic
gates:
  - {name: accuracy, metric: accuracy, min: 0.01}
  - {name: missed, metric: attack_success_rate, max: 0.99}
"""
GROUPS = 200


class Cost(NamedTuple):
    """Of one process."""

    seconds: float
    peak_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs=2, default=[1000, 20000])
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "test_empty.py").write_text("def test_nothing(): pass\n")
        (root / "instant.py").write_text(TARGET)
        (root / "policy.yaml").write_text(POLICY)
        empty = _best(root, ["test_empty.py", "-p", "no:mmsafety"], arguments.repeat)
        unused = _best(root, ["test_empty.py"], arguments.repeat)
        print(f"empty pytest run: {empty.seconds:.2f} s, {empty.peak_mb:.0f} MB", flush=True)
        print(f"plugin installed, not used: {unused.seconds - empty.seconds:+.3f} s")
        for title, group_by in (("200 groups", "[category, language]"), ("an item a case", "[id]")):
            costs = {size: _run(root, size, group_by, arguments.repeat) for size in arguments.sizes}
            _print(title, empty, costs)


def _run(root: Path, size: int, group_by: str, repeat: int) -> Cost:
    cases = root / f"cases-{size}"
    cases.mkdir(exist_ok=True)
    (cases / "synthetic.yaml").write_text(SUITE.replace("[category, language]", group_by))
    rows = (
        {
            "id": f"case-{i}",
            "prompt": f"Is sentence number {i} safe? Answer yes or no." + " word" * (i % 40),
            "expected": "no" if i % 2 else "yes",
            "category": f"category-{i % GROUPS}",
            "language": "en",
            "aspect": "vulnerability" if i % 2 else "over-refusal",
        }
        for i in range(size)
    )
    (cases / "synthetic.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--model=instant:answer", "--thresholds=policy.yaml", "--store=fresh.sqlite3", "--save-run=run.json"]
    return _best(root, [str(cases / "synthetic.yaml"), "--batch-size=64", *options], repeat)


def _best(root: Path, arguments: list[str], repeat: int) -> Cost:
    return min((_once(root, arguments) for _ in range(repeat)), key=lambda cost: cost.seconds)


def _once(root: Path, arguments: list[str]) -> Cost:
    """Wall seconds and peak memory of one pytest process, with a store that is empty at its start."""
    for old in root.glob("fresh.sqlite3*"):
        old.unlink()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"pytest failed: {' '.join(command)}")
    return Cost(seconds, _megabytes(usage))


def _megabytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _print(title: str, empty: Cost, costs: dict[int, Cost]) -> None:
    for size, cost in costs.items():
        milliseconds = (cost.seconds - empty.seconds) / size * 1e3
        kilobytes = (cost.peak_mb - empty.peak_mb) / size * 2**10
        print(
            f"{title}, {size:>6} cases: {cost.seconds:6.2f} s, {cost.peak_mb:4.0f} MB; "
            f"beyond the empty run {milliseconds:.3f} ms and {kilobytes:.1f} kB a case",
            flush=True,
        )
    (small, low), (large, high) = costs.items()
    print(
        f"{title}, slope from {small} to {large}: {(high.seconds - low.seconds) / (large - small) * 1e3:.3f} ms and "
        f"{(high.peak_mb - low.peak_mb) / (large - small) * 2**10:.1f} kB a case"
    )


if __name__ == "__main__":
    main()
