"""The command line that the simulations share: named parts, printed as Markdown tables, with fewer draws if asked."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping

Part = Callable[..., Iterator[str]]
"""``part(draws, quick=...)`` yields the lines of its table."""


def run_parts(description: str | None, parts: Mapping[str, Part], draws: int) -> None:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a subset of the grid with a quarter of the draws")
    parser.add_argument("--draws", type=int, default=draws)
    parser.add_argument("--only", nargs="*", choices=[*parts], default=[*parts])
    arguments = parser.parse_args()
    count = arguments.draws // 4 if arguments.quick else arguments.draws
    for name in arguments.only:
        start = time.perf_counter()
        for line in parts[name](count, quick=arguments.quick):
            print(line, flush=True)
        print(f"\n({name}: {time.perf_counter() - start:.0f} s)\n", flush=True)
