from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.benchmarks.usb.scores import Share, refusal, safety
from pytest_mmsafety.metrics import USB_CELLS

LABELS = st.lists(st.tuples(st.sampled_from(USB_CELLS), st.integers(1, 3)))


def test_labels_one_and_two_are_safe() -> None:
    table = safety(("national-safety", "military/x", "RIST", label) for label in (1, 2, 3, 3))
    assert table.pooled == pytest.approx(0.5)
    assert table.cells["national-safety", "RIST"] == Share(2, 4)
    assert table.categories == {("military/x", "RIST"): Share(2, 4)}
    assert table.macro is None  # eleven cells are empty


def test_macro_and_pooled_differ_on_unbalanced_cells() -> None:
    labels = [(level, "a/b", modality, 1) for level, modality in USB_CELLS]
    labels += [("public-safety", "a/b", "SIST", 3)] * 11
    table = safety(labels)
    assert table.pooled == pytest.approx(12 / 23)
    assert table.macro == pytest.approx((11 + 1 / 12) / 12)


@given(LABELS)
def test_totals_lie_between_the_cells(labels: list[tuple[tuple[str, str], int]]) -> None:
    table = safety((level, "a/b", modality, label) for (level, modality), label in labels)
    rates = [share.rate for share in table.cells.values() if share.rate is not None]
    if rates:
        assert table.pooled is not None
        assert min(rates) - 1e-9 <= table.pooled <= max(rates) + 1e-9
    assert (table.macro is None) == (len(rates) < 12)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (("national-safety", "a", "RIRT", 0), "label: 0; expected 1 or 2"),
        (("national-safety", "a", "RIRT", 4), "label: 4"),
        (("safety", "a", "RIRT", 1), "cell: safety, RIRT"),
    ],
)
def test_unknown_labels_and_cells(row: tuple[str, str, str, int], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        safety([row])


def test_refusal_rate() -> None:
    assert refusal([0, 1, 1, 0, 0]).rate == pytest.approx(0.4)
    assert refusal([]).rate is None
    with pytest.raises(ValueError, match="label: 3; expected 0"):
        refusal([3])
