"""The plan: nothing lost, nothing doubled, and after a kill the very same batches."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.cases import Case
from pytest_mmsafety.engine.batches import WINDOW, batches, units, windows
from pytest_mmsafety.testing import make_case


@st.composite
def many_cases(draw: st.DrawFn) -> list[Case]:
    sizes = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), max_size=200))
    return [make_case(i, prompt="x" * length, images=("i",) * images) for i, (images, length) in enumerate(sizes)]


@given(many_cases(), st.integers(1, 7))
def test_windows_cut_in_order_and_lose_nothing(cases: list[Case], batch_size: int) -> None:
    cut = list(windows(cases, batch_size))
    assert list(itertools.chain(*cut)) == cases
    assert all(len(window) == batch_size * WINDOW for window in cut[:-1])
    assert all(cut)


@given(many_cases(), st.integers(1, 12), st.data())
def test_every_open_case_is_in_one_batch(cases: list[Case], batch_size: int, data: st.DataObject) -> None:
    answered = {case.key for case in cases if data.draw(st.booleans())} if len(cases) < 30 else set()
    planned = batches(cases, batch_size, answered)
    keys = [case.key for batch in planned for case in batch]
    assert sorted(keys) == sorted(case.key for case in cases if case.key not in answered)
    assert all(0 < len(batch) <= batch_size for batch in planned)


@given(many_cases(), st.integers(1, 12))
def test_an_undisturbed_plan_is_full_and_dearest_first(cases: list[Case], batch_size: int) -> None:
    planned = batches(cases, batch_size)
    assert all(len(batch) == batch_size for batch in planned[:-1])
    costs = [(len(case.images), len(case.prompt)) for batch in planned for case in batch]
    assert costs == sorted(costs, reverse=True)


@given(many_cases(), st.integers(1, 12), st.data())
def test_after_a_kill_the_rest_is_asked_in_the_very_same_batches(
    cases: list[Case], batch_size: int, data: st.DataObject
) -> None:
    planned = batches(cases, batch_size)
    done = data.draw(st.integers(0, len(planned)))
    answered = {case.key for batch in planned[:done] for case in batch}
    assert batches(cases, batch_size, answered) == planned[done:]


@given(many_cases(), st.integers(1, 12), st.sets(st.integers(0, 40)))
def test_any_whole_batches_that_are_answered_leave_the_others_as_they_were(
    cases: list[Case], batch_size: int, done: set[int]
) -> None:
    planned = batches(cases, batch_size)
    if planned and len(planned[-1]) < batch_size:
        planned = planned[:-1]  # a last batch that is not full may be joined to another
        cases = [case for batch in planned for case in batch]
    answered = {case.key for i, batch in enumerate(planned) if i in done for case in batch}
    assert batches(cases, batch_size, answered) == [batch for i, batch in enumerate(planned) if i not in done]


@given(many_cases(), st.integers(1, 12), st.randoms())
def test_the_plan_is_a_function_of_its_input(cases: list[Case], batch_size: int, random) -> None:  # type: ignore[no-untyped-def]
    assert batches(cases, batch_size) == batches(list(cases), batch_size)
    shuffled = random.sample(cases, len(cases))
    sizes = [len(batch) for batch in batches(cases, batch_size)]
    assert [len(batch) for batch in batches(shuffled, batch_size)] == sizes


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 40), st.integers(0, 9))
def test_units_are_neighbours_without_a_gap(sizes: list[int], batch_size: int, workers: int) -> None:
    numbers = units(sizes, batch_size, workers)
    assert len(numbers) == len(sizes)
    assert numbers == sorted(numbers)
    assert sorted(set(numbers)) == list(range(len(set(numbers))))
    if not workers:
        assert set(numbers) <= {0}
        return
    for number in set(numbers) - {max(numbers, default=0)}:
        assert sum(size for size, of in zip(sizes, numbers, strict=True) if of == number) >= batch_size


@given(st.lists(st.integers(1, 5), min_size=200, max_size=300), st.integers(1, 4), st.integers(1, 4))
def test_every_worker_gets_a_few_units(sizes: list[int], batch_size: int, workers: int) -> None:
    numbers = units(sizes, batch_size, workers)
    assert max(numbers) + 1 >= 3 * workers
