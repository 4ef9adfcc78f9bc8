"""A case and its further samples."""

from __future__ import annotations

from pytest_mmsafety.suites import samples_of
from pytest_mmsafety.testing import make_case


def test_samples_stay_in_the_cluster_and_the_pair_of_their_case() -> None:
    case = make_case("a", tags={"pair": "q", "variant": "clean"})
    first, second = samples_of(case, 2)
    assert (first.key, second.key) == ("demo/a", "demo/a~2")
    assert first.cluster == second.cluster == "demo/a"
    assert (first.tags["pair"], second.tags["pair"]) == ("q", "q~2")
    assert (first.sample, second.sample) == (1, 2)
    assert samples_of(case, 1) == [case]
    assert samples_of(make_case("a", images=("x.png",)), 2)[1].cluster is None  # the image's content
