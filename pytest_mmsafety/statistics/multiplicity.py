"""p-values of one family, adjusted so that the family as a whole keeps its error rate.

A claim holds at level alpha if its adjusted p-value is at most alpha.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scipy.stats import false_discovery_control


def holm(p: Sequence[float]) -> list[float]:
    """Bounds the chance of any false claim, whatever the dependence (Holm 1979, Scand. J. Statist. 6, 65-70)."""
    order = sorted(range(len(p)), key=p.__getitem__)
    adjusted, least = [1.0] * len(p), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, p[i] * (len(p) - rank)))
        adjusted[i] = least
    return adjusted


def hochberg(p: Sequence[float]) -> list[float]:
    """The same for independent or positively dependent claims (Hochberg 1988, Biometrika 75, 800-802; Sarkar 1998).

    Never larger than :func:`holm`. If every p-value is at most alpha, so is every adjusted one: the claim that
    *all* hold needs no correction (intersection-union test, Berger 1982).
    """
    order = sorted(range(len(p)), key=p.__getitem__, reverse=True)
    adjusted, most = [1.0] * len(p), 1.0
    for rank, i in enumerate(order):
        most = min(most, p[i] * (rank + 1))
        adjusted[i] = most
    return adjusted


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Bounds the expected share of false claims among all claims made (Benjamini and Hochberg 1995)."""
    return [float(value) for value in false_discovery_control(p)] if p else []


def unadjusted(p: Sequence[float]) -> list[float]:
    """Each claim for itself."""
    return list(p)


#: Family -> adjustment of claims of harm, and of claims of safety; docs/statistics.md says why they differ.
ADJUSTMENTS: dict[str, tuple[Callable[[Sequence[float]], list[float]], Callable[[Sequence[float]], list[float]]]] = {
    "holm": (holm, hochberg),
    "fdr": (benjamini_hochberg, benjamini_hochberg),
    "none": (unadjusted, unadjusted),
}
