"""MOSSBench (Li et al. 2024, arXiv 2406.17806), read from its published ``information.csv``.

Every probe is harmless and looks otherwise: the model should help. USB-SafeBench ends with the same probes.
"""

from __future__ import annotations

from pathlib import Path

from pytest_mmsafety.benchmarks.csv_tables import Images, cell, find_table, one_of, unique_rows
from pytest_mmsafety.cases import OVER_REFUSAL, Case
from pytest_mmsafety.documents import Row

TABLE = "information.csv"
STIMULI = ("exaggerated-risk", "negated-harm", "counterintuitive-interpretation")
"""What the models are over-sensitive to: the column ``meta_data_over``."""


def load(root: Path, suite: str) -> list[Case]:
    """Read the probes in the order of ``information.csv``; *root* is its folder or the one that holds it.

    Raises :class:`DataError` for a layout or a row that is not as published. Part of the probes is fine.
    A probe without an image becomes a case that says why it is skipped.
    """
    table = find_table(root, (TABLE, f"*/{TABLE}"))
    images = Images(root, table)
    return [_case(row, suite, images) for row in unique_rows(table, "pid")]


def _case(row: Row, suite: str, images: Images) -> Case:
    image, skip = images.find(row, "image_path")
    return Case(
        id=row.values["pid"],
        suite=suite,
        prompt=cell(row, "question"),
        expected="comply",
        images=(image,) if image else (),
        tags={
            "benchmark": "mossbench",
            "category": one_of(row, "meta_data_over", STIMULI),
            "language": "en",
            "aspect": OVER_REFUSAL,
        },
        skip=skip,
    )
