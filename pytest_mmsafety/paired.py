"""Which cases of a run the baseline has too: the same key, asked in the same words with the same images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_mmsafety.run import Record

ABSENT = -1
CHANGED = -2


def match(records: Sequence[Record], baseline: Sequence[Record]) -> NDArray[np.int64]:
    """For each record its index in *baseline*, ``ABSENT`` if it is not there, ``CHANGED`` if its content differs."""
    import numpy as np

    index = {record.key: number for number, record in enumerate(baseline)}
    found = np.full(len(records), ABSENT)
    for i, record in enumerate(records):
        if (j := index.get(record.key)) is not None:
            found[i] = j if same_content(record, baseline[j]) else CHANGED
    return found


def same_content(one: Record, other: Record) -> bool:
    """Whether both were asked the same and are held to the same. Images that could not be read are never the same."""
    return (
        one.prompt == other.prompt
        and one.expected == other.expected
        and len(one.images) == len(other.images)
        and all(a.sha256 == b.sha256 != "" for a, b in zip(one.images, other.images, strict=True))
    )
