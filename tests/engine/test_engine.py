"""The engine: every case gets its outcome, whatever the target, the judges, the images and the disk do."""

from __future__ import annotations

import asyncio
import io
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pytest_mmsafety.cases import Case
from pytest_mmsafety.engine.asker import MAX_CONSECUTIVE_FAILURES
from pytest_mmsafety.engine.engine import Engine
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.store import Store
from pytest_mmsafety.targets import Request, Target
from pytest_mmsafety.testing import ScriptedJudge, ScriptedTarget, make_case, make_verdict
from pytest_mmsafety.verdicts import Verdict

PATIENCE = 3.0
"""Seconds after which something that takes milliseconds is taken to hang."""

Answers = Callable[[Sequence[Request]], Any]


class Critic(ScriptedJudge):
    """A judge whose whole reply to some answers is made by a function."""

    def __init__(self, reply: Callable[[Sequence[str]], Any]) -> None:
        super().__init__(name="critic/1")
        self.reply = reply

    def judge(self, cases: Sequence[Case], responses: Sequence[str]) -> Sequence[Verdict]:
        verdicts: Sequence[Verdict] = self.reply(responses)
        return verdicts


def prompts(target: ScriptedTarget) -> list[list[str]]:
    """Of each call, in order."""
    return [[request.prompt for request in batch] for batch in target.batches]


def yes(requests: Sequence[Request]) -> list[str]:
    return ["yes" for _ in requests]


def fails_on(word: str, error: BaseException) -> Answers:
    def answer(requests: Sequence[Request]) -> list[str]:
        if any(word in request.prompt for request in requests):
            raise error
        return yes(requests)

    return answer


def case(number: int, prompt: str = "", images: Sequence[Path] = (), **more: Any) -> Case:
    paths = tuple(str(path) for path in images)
    return make_case(f"c{number}", prompt=prompt or f"prompt {number:04}", images=paths, **more)


def cases(count: int) -> list[Case]:
    return [case(i) for i in range(count)]


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """What *work* returns; a failure, not a hang, if it takes longer."""
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"not done after {seconds} s"
    return result[0]


class Bench:
    """Makes engines, and closes them after the test."""

    def __init__(self) -> None:
        self.engines: list[Engine] = []

    def engine(
        self,
        target: Target | Callable[[], Target],
        judges: Sequence[Any] = (),
        store: Store | Path | None = None,
        batch_size: int = 4,
    ) -> Engine:
        make = target if not hasattr(target, "generate") else lambda: target
        kept = store if isinstance(store, Store) else Store(store)
        self.engines.append(Engine(make, Panel(judges), kept, batch_size))  # type: ignore[arg-type]
        return self.engines[-1]

    def ask(self, engine: Engine, some: Sequence[Case]) -> dict[str, Outcome]:
        engine.submit(some)
        outcomes = within(PATIENCE * 3, lambda: engine.collect(some, lambda: None, 0.05))
        assert [outcome.case for outcome in outcomes] == [one.key for one in some]
        return {outcome.case.partition("/")[2]: outcome for outcome in outcomes}

    def close(self) -> None:
        while self.engines:
            engine = self.engines.pop()
            within(PATIENCE, lambda: engine.close() or True)  # noqa: B023 - used at once


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def png(path: Path, size: tuple[int, int] = (8, 6), colour: str = "red") -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


# --- answers


def test_every_case_gets_its_own_answer_and_verdict(bench: Bench) -> None:
    target = ScriptedTarget(lambda requests: ["no" if "7" in request.prompt else "yes" for request in requests])
    outcomes = bench.ask(bench.engine(target), cases(20))
    assert {key for key, outcome in outcomes.items() if outcome.score} == {"c7", "c17"}
    assert all(outcome.verdicts[0].judge.startswith("yes-no") for outcome in outcomes.values())
    assert not any(outcome.stored or outcome.error for outcome in outcomes.values())
    assert target.sizes == [4] * 5


def test_results_do_not_depend_on_the_order_of_cases(bench: Bench) -> None:
    some = [case(i, "x" * (i % 5 + 1) + str(i)) for i in range(50)]
    shuffled = random.Random(0).sample(some, len(some))
    results = []
    for order in (some, shuffled):
        target = ScriptedTarget(
            lambda requests: ["yes" if "3" in request.prompt else "perhaps" for request in requests]
        )
        outcomes = bench.ask(bench.engine(target), order)
        results.append({key: (outcome.response, outcome.verdicts) for key, outcome in outcomes.items()})
    assert results[0] == results[1]


def test_the_same_cases_make_the_same_batches(bench: Bench, tmp_path: Path) -> None:
    image = png(tmp_path / "a.png")
    some = [case(i, "x" * (i * 7 % 13) + str(i), [image] * (i % 3)) for i in range(150)]
    targets = [ScriptedTarget(), ScriptedTarget()]
    for target in targets:
        bench.ask(bench.engine(target), some)
    assert prompts(targets[0]) == prompts(targets[1])
    assert sum(targets[0].sizes) == 150


def test_dearest_cases_come_first_so_that_memory_runs_out_at_once(bench: Bench, tmp_path: Path) -> None:
    image = png(tmp_path / "a.png")
    target = ScriptedTarget()
    bench.ask(bench.engine(target), [case(1), case(2, "long " * 50), case(3, images=[image]), case(4), case(5)])
    assert prompts(target) == [["prompt 0003", "long " * 50, "prompt 0001", "prompt 0004"], ["prompt 0005"]]


def test_text_and_images_reach_the_target(bench: Bench, tmp_path: Path) -> None:
    first, second = png(tmp_path / "a.png", (8, 6)), png(tmp_path / "图.png", (3, 9))
    target = ScriptedTarget()
    outcomes = bench.ask(bench.engine(target), [case(1), case(2, images=[first]), case(3, images=[second, first])])
    sizes = [tuple(image.size for image in request.images) for batch in target.batches for request in batch]
    assert sizes == [((3, 9), (8, 6)), ((8, 6),), ()]
    assert len(outcomes["c3"].image_digests) == 2
    assert outcomes["c3"].image_digests[1] == outcomes["c2"].image_digests[0]


def test_the_target_lives_in_one_thread_that_is_not_ours(bench: Bench) -> None:
    made_in: list[int] = []
    asked_in: list[int] = []

    def answer(requests: Sequence[Request]) -> list[str]:
        asked_in.append(threading.get_ident())
        return yes(requests)

    def make() -> ScriptedTarget:
        made_in.append(threading.get_ident())
        return ScriptedTarget(answer)

    engine = bench.engine(make)
    bench.ask(engine, cases(30))
    bench.ask(engine, [case(i) for i in range(100, 130)])
    assert len(made_in) == 1
    assert set(asked_in) == set(made_in)
    assert threading.get_ident() not in made_in


def test_the_target_is_not_made_for_cases_that_are_skipped(bench: Bench) -> None:
    def make() -> Target:
        raise AssertionError("made")

    outcomes = bench.ask(bench.engine(make), [case(1, skip="image was never published")])
    assert outcomes["c1"].skipped == "image was never published"
    assert outcomes["c1"].response is None


# --- a target that fails


def test_a_failing_batch_is_split_until_the_guilty_case_stands_alone(bench: Bench) -> None:
    target = ScriptedTarget(fails_on("0005", RuntimeError("this one\nbreaks me")))
    outcomes = bench.ask(bench.engine(target, batch_size=8), cases(8))
    assert {key: outcome.error for key, outcome in outcomes.items() if outcome.error} == {
        "c5": "RuntimeError: this one breaks me"
    }
    assert target.sizes == [8, 4, 4, 2, 1, 1, 2]


@pytest.mark.parametrize("name", ["MemoryError", "OutOfMemoryError"])
def test_out_of_memory_halves_the_batch_for_good(bench: Bench, name: str) -> None:
    error = MemoryError() if name == "MemoryError" else type(name, (RuntimeError,), {})("HIP out of memory")

    def answer(requests: Sequence[Request]) -> list[str]:
        if len(requests) > 4:
            raise error
        return yes(requests)

    target = ScriptedTarget(answer)
    engine = bench.engine(target, batch_size=8)
    outcomes = bench.ask(engine, cases(24))
    assert not any(outcome.error for outcome in outcomes.values())
    assert target.sizes == [8, 4, 4, 4, 4, 4, 4]
    bench.ask(engine, [case(i) for i in range(100, 116)])
    assert max(target.sizes[1:]) == 4
    assert engine.notes == ["out of memory with 8 cases at once: went on with 4"]


def test_one_case_that_fits_no_memory_costs_only_itself(bench: Bench) -> None:
    target = ScriptedTarget(fails_on("huge", MemoryError("of 80 GiB")))
    outcomes = bench.ask(bench.engine(target), [case(0, "huge " * 9), *(case(i) for i in range(1, 9))])
    assert [key for key, outcome in outcomes.items() if outcome.error] == ["c0"]
    assert outcomes["c0"].error == "MemoryError: of 80 GiB"


def test_a_batch_size_that_was_halved_never_grows(bench: Bench) -> None:
    target = ScriptedTarget(
        lambda requests: yes(requests) if len(requests) == 1 else fails_on("", MemoryError())(requests)
    )
    bench.ask(bench.engine(target, batch_size=8), cases(8))
    assert target.sizes == [8, 4, 2] + [1] * 8


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (list, "TypeError: the target answered Request("),
        (lambda requests: [], "ValueError: the target gave 0 answers to 1 requests"),
        (
            lambda requests: ["yes"] * (len(requests) + 1),
            "ValueError: the target gave more than 1 answers to 1 requests",
        ),
        (lambda requests: [None for _ in requests], "TypeError: the target answered None (NoneType), expected a strin"),
        (lambda requests: [b"yes" for _ in requests], "TypeError: the target answered b'yes' (bytes), expected a stri"),
        (
            lambda requests: None,
            "TypeError: the target answered None, a NoneType; expected a list, an answer for each request",
        ),
        (fails_on("", SystemExit(3)), "SystemExit: 3"),
        (fails_on("", OSError("line 1\n  line 2")), "OSError: line 1 line 2"),
        (fails_on("", ValueError()), "ValueError: "),
    ],
)
def test_a_useless_answer_is_an_error_in_one_line(bench: Bench, answers: Answers, message: str) -> None:
    outcomes = bench.ask(bench.engine(ScriptedTarget(answers)), cases(2))
    for outcome in outcomes.values():
        assert outcome.error.startswith(message)
        assert "\n" not in outcome.error
        assert outcome.response is None


def test_too_few_answers_are_asked_again_in_smaller_batches(bench: Bench) -> None:
    target = ScriptedTarget(lambda requests: ["yes"] * min(2, len(requests)))
    outcomes = bench.ask(bench.engine(target, batch_size=8), cases(8))
    assert all(outcome.response == "yes" for outcome in outcomes.values())
    assert target.sizes == [8, 4, 2, 2, 4, 2, 2]


def test_one_string_for_the_whole_batch_is_no_list_of_answers(bench: Bench) -> None:
    outcomes = bench.ask(bench.engine(ScriptedTarget(lambda requests: "y" * len(requests))), cases(4))
    error = "TypeError: the target answered 'y', one string; expected a list, an answer for each request"
    assert [outcome.error for outcome in outcomes.values()] == [error] * 4


def test_half_a_surrogate_pair_in_an_answer_can_be_written(bench: Bench, tmp_path: Path) -> None:
    target = ScriptedTarget(lambda requests: ["yes \ud83d and \udc4d" for _ in requests])
    (outcome,) = bench.ask(bench.engine(target, store=tmp_path / "s"), [case(1)]).values()
    assert outcome.response
    assert outcome.response.startswith("yes ")
    outcome.response.encode()


def test_half_a_surrogate_pair_in_an_error_can_be_written(bench: Bench) -> None:
    (outcome,) = bench.ask(bench.engine(ScriptedTarget(fails_on("", ValueError("\ud800")))), [case(1)]).values()
    outcome.error.encode()


def test_long_answers_of_any_script_arrive_whole(bench: Bench, tmp_path: Path) -> None:
    said = "yes 你好 👍 \x00\x1b[31m\u2028 " + "x" * 100_000
    for _ in range(2):  # the second time from the store
        engine = bench.engine(ScriptedTarget(lambda requests: [said for _ in requests]), store=tmp_path / "s")
        assert bench.ask(engine, [case(1)])["c1"].response == said


def test_a_dead_target_is_given_up(bench: Bench) -> None:
    target = ScriptedTarget(fails_on("", ConnectionError("refused")))
    engine = bench.engine(target, batch_size=4)
    outcomes = bench.ask(engine, cases(200))
    reason = f"it failed on {MAX_CONSECUTIVE_FAILURES} cases in a row, last with ConnectionError: refused"
    assert engine.target.given_up == reason
    assert engine.notes == [f"the target was given up: {reason}"]
    assert len(target.sizes) < MAX_CONSECUTIVE_FAILURES * 2
    assert all(outcome.error for outcome in outcomes.values())
    assert bench.ask(engine, [case(999)])["c999"].error == reason, "later cases are answered at once"


def test_a_target_that_recovers_is_not_given_up(bench: Bench) -> None:
    dead = {8 * i + j for i in range(0, 20, 2) for j in range(8)}  # every other batch of eight fails as a whole
    target = ScriptedTarget(
        lambda requests: (
            yes(requests)
            if not any(int(request.prompt[-4:]) in dead for request in requests)
            else fails_on("", RuntimeError("busy"))(requests)
        )
    )
    engine = bench.engine(target, batch_size=8)
    outcomes = bench.ask(engine, cases(160))
    assert not engine.target.given_up
    assert sum(1 for outcome in outcomes.values() if outcome.response) == 80


def test_broken_images_do_not_make_the_target_hopeless(bench: Bench, tmp_path: Path) -> None:
    broken = [case(i, "x" * 100, [tmp_path / f"{i}.png"]) for i in range(MAX_CONSECUTIVE_FAILURES)]
    for i in range(MAX_CONSECUTIVE_FAILURES):
        (tmp_path / f"{i}.png").write_bytes(b"no image")
    guilty = case(50, "guilty " * 9)
    engine = bench.engine(ScriptedTarget(fails_on("guilty", RuntimeError("once"))), batch_size=1)
    outcomes = bench.ask(engine, [*broken, guilty, *(case(i) for i in range(100, 110))])
    assert not engine.target.given_up
    assert [key for key, outcome in outcomes.items() if outcome.response] == [f"c{i}" for i in range(100, 110)]


def test_a_few_prompts_that_are_too_long_do_not_make_the_target_hopeless(bench: Bench) -> None:
    engine = bench.engine(ScriptedTarget(fails_on("long", ValueError("context length"))), batch_size=1)
    outcomes = bench.ask(engine, [*(case(i, f"long {i} " * 9) for i in range(4)), *(case(i) for i in range(10, 60))])
    assert sum(1 for outcome in outcomes.values() if outcome.response) == 50


def test_a_target_that_says_it_cannot_work_is_not_asked_again(bench: Bench) -> None:
    target = ScriptedTarget(fails_on("", SetupError("checkpoint: weights are damaged")))
    engine = bench.engine(target)
    outcomes = bench.ask(engine, cases(40))
    assert target.sizes == [4]
    assert {outcome.error for outcome in outcomes.values()} == {"checkpoint: weights are damaged"}


@pytest.mark.parametrize("error", [OSError("no weights"), SetupError("no weights"), MemoryError("no weights")])
def test_a_target_that_cannot_be_made_is_said_once(bench: Bench, error: Exception) -> None:
    def make() -> Target:
        raise error

    engine = bench.engine(make)
    outcomes = bench.ask(engine, cases(40))
    assert all(outcome.error.endswith("no weights") for outcome in outcomes.values())
    assert len(engine.notes) == 1


def test_a_fingerprint_that_cannot_be_made_is_said_once(bench: Bench) -> None:
    class Unreadable:
        name = "unreadable"

        @property
        def fingerprint(self) -> str:
            raise OSError("weights cannot be read")

        def generate(self, requests: Sequence[Request]) -> list[str]:
            raise AssertionError("asked")

    def make() -> Target:
        return Unreadable()

    engine = bench.engine(make)
    outcomes = bench.ask(engine, cases(40))
    assert {outcome.error for outcome in outcomes.values()} == {"OSError: weights cannot be read"}
    assert engine.notes == ["the target was given up: OSError: weights cannot be read"]


# What a thread of the engine cannot catch must not leave it waiting for itself when it is closed.


def makes_exit() -> Target:
    raise SystemExit(2)


@pytest.mark.parametrize(
    "make",
    [
        makes_exit,
        lambda: ScriptedTarget(fails_on("", asyncio.CancelledError())),
        lambda: ScriptedTarget(fails_on("", pytest.skip.Exception("no device"))),
    ],
    ids=["exit-in-constructor", "cancelled", "pytest-skip"],
)
def test_an_error_that_ends_the_targets_thread_lets_the_engine_close(make: Callable[[], Target]) -> None:
    bench = Bench()
    outcomes = bench.ask(bench.engine(make), cases(40))
    assert all(outcome.error for outcome in outcomes.values())
    bench.close()


def test_release_is_called_once_at_the_end() -> None:
    released: list[bool] = []

    class Device(ScriptedTarget):
        def release(self) -> None:
            released.append(True)

    bench = Bench()
    bench.ask(bench.engine(Device()), cases(3))
    assert not released
    bench.close()
    assert released == [True]


def test_an_error_in_release_loses_nothing() -> None:
    class Device(ScriptedTarget):
        def release(self) -> None:
            raise RuntimeError("device is gone")

    engine = Bench().engine(Device())
    Bench().ask(engine, cases(3))
    engine.close()


# --- images


def image_file(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.png"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("<html>404</html>")
    elif kind == "truncated":
        Image.effect_noise((64, 64), 50).save(path)
        path.write_bytes(path.read_bytes()[:1000])
    elif kind == "bomb":
        buffer = io.BytesIO()
        Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
        path.write_bytes(buffer.getvalue())
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "image cannot be read: No such file or directory"),
        ("folder", "image cannot be read: Is a directory"),
        ("empty", "image is empty (0 bytes)"),
        ("text", "not an image that Pillow can read"),
        ("truncated", "damaged image:"),
        ("bomb", "image of 10000 x 10000 pixels, at most 64,000,000 are decoded"),
    ],
)
def test_a_bad_image_costs_only_its_own_case(bench: Bench, tmp_path: Path, kind: str, message: str) -> None:
    good, bad = png(tmp_path / "good.png"), image_file(tmp_path, kind)
    some = [case(1, images=[good]), case(2, images=[good, bad]), case(3), case(4, images=[good])]
    outcomes = bench.ask(bench.engine(ScriptedTarget()), some)
    assert [key for key, outcome in outcomes.items() if outcome.error] == ["c2"]
    assert message in outcomes["c2"].error
    assert "\n" not in outcomes["c2"].error


def dds(path: Path) -> Path:
    """A texture with a pixel format that no version of Pillow knows: it raises NotImplementedError."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "DDS")
    data = bytearray(buffer.getvalue())
    data[80:84] = b"\0\0\0\x40"
    path.write_bytes(data)
    return path


def test_an_image_that_pillow_stumbles_over_costs_only_its_own_case(tmp_path: Path) -> None:
    bench = Bench()
    engine = bench.engine(ScriptedTarget())
    outcomes = bench.ask(engine, [case(1, images=[dds(tmp_path / "a.dds")]), *cases(8)[2:]])
    assert [key for key, outcome in outcomes.items() if outcome.error] == ["c1"]
    bench.close()


# --- the store


def test_a_second_engine_asks_nothing(bench: Bench, tmp_path: Path) -> None:
    bench.ask(bench.engine(ScriptedTarget(), store=tmp_path / "s"), cases(20))
    target = ScriptedTarget()
    engine = bench.engine(target, store=tmp_path / "s")
    outcomes = bench.ask(engine, cases(20))
    assert target.batches == []
    assert engine.target.calls == 0
    assert all(outcome.stored and outcome.response == "yes" for outcome in outcomes.values())


def test_only_what_is_new_is_asked(bench: Bench, tmp_path: Path) -> None:
    bench.ask(bench.engine(ScriptedTarget(), store=tmp_path / "s"), cases(10))
    target = ScriptedTarget()
    outcomes = bench.ask(bench.engine(target, store=tmp_path / "s"), cases(12))
    assert sorted(prompt for batch in prompts(target) for prompt in batch) == ["prompt 0010", "prompt 0011"]
    assert [outcome.stored for outcome in outcomes.values()] == [True] * 10 + [False] * 2


def test_errors_are_not_remembered(bench: Bench, tmp_path: Path) -> None:
    first = bench.ask(bench.engine(ScriptedTarget(fails_on("0003", OSError("busy"))), store=tmp_path / "s"), cases(6))
    assert first["c3"].error
    second = bench.ask(bench.engine(ScriptedTarget(), store=tmp_path / "s"), cases(6))
    assert second["c3"].response == "yes"
    assert second["c2"].stored


@pytest.mark.parametrize("error", ["database or disk is full", "disk I/O error"])
def test_a_store_that_takes_no_more_loses_no_outcome(bench: Bench, tmp_path: Path, error: str) -> None:
    class Full(Store):
        def put(self, *_: Any) -> None:
            raise sqlite3.OperationalError(error)

    engine = bench.engine(ScriptedTarget(), store=Full(tmp_path / "s"))
    outcomes = bench.ask(engine, cases(12))
    assert all(outcome.response == "yes" for outcome in outcomes.values())
    assert len(engine.notes) == 1
    assert f"takes no more answers ({error}); later ones are in this run only" in engine.notes[0]


def test_a_disk_that_fills_up_keeps_what_was_written(bench: Bench, tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    store._connection.execute("PRAGMA max_page_count = 12")
    engine = bench.engine(ScriptedTarget(lambda requests: ["yes " + "x" * 4000 for _ in requests]), store=store)
    outcomes = bench.ask(engine, cases(40))
    assert all(outcome.response for outcome in outcomes.values())
    assert "database or disk is full" in engine.notes[0]
    bench.close()
    again = bench.ask(bench.engine(ScriptedTarget(), store=tmp_path / "s"), cases(40))
    assert 0 < sum(outcome.stored for outcome in again.values()) < 40


def test_a_store_that_breaks_meanwhile_is_asked_around(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    store._connection.execute("DROP TABLE responses")
    bench = Bench()
    outcomes = bench.ask(bench.engine(ScriptedTarget(), store=store), cases(4))
    bench.close()
    assert all(outcome.response for outcome in outcomes.values())


# --- judges


@pytest.mark.parametrize(
    ("opinion", "reason"),
    [
        (lambda responses: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda responses: [], "gave 0 verdicts on 1 answers"),
        (lambda responses: None, "TypeError: object of type 'NoneType' has no len()"),
    ],
)
def test_a_judge_that_fails_leaves_the_answer_unscored(bench: Bench, opinion: Any, reason: str) -> None:
    outcomes = bench.ask(bench.engine(ScriptedTarget(), [Critic(opinion)]), cases(6))
    for outcome in outcomes.values():
        assert outcome.response == "yes"
        assert outcome.score is None
        assert outcome.verdicts[0].label == "judge-error"
        assert outcome.verdicts[0].reason == reason


def test_a_judge_that_fails_on_one_answer_scores_the_others(bench: Bench) -> None:
    def opinion(responses: Sequence[str]) -> list[Verdict]:
        if "bad" in responses:
            raise ValueError("cannot read this")
        return [make_verdict(0.0, "critic/1", "fine") for _ in responses]

    target = ScriptedTarget(lambda requests: ["bad" if "0003" in request.prompt else "fine" for request in requests])
    outcomes = bench.ask(bench.engine(target, [Critic(opinion)]), cases(8))
    assert [key for key, outcome in outcomes.items() if outcome.score is None] == ["c3"]


def quits(_: Sequence[str]) -> Any:
    raise SystemExit(1)


class Unusable(Critic):
    expectations = 5


@pytest.mark.parametrize("judge", [Critic(quits), Unusable(len)], ids=["exit", "expectations"])
def test_an_error_that_ends_the_judges_thread_lets_the_engine_close(judge: Critic) -> None:
    bench = Bench()
    outcomes = bench.ask(bench.engine(ScriptedTarget(), [judge]), cases(40))
    assert len(outcomes) == 40
    bench.close()


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 7, -1, "0"], ids=str)
def test_a_score_that_is_none_is_unscored(bench: Bench, score: Any) -> None:
    judge = Critic(lambda responses: [make_verdict(score, "critic/1", "odd") for _ in responses])
    (outcome,) = bench.ask(bench.engine(ScriptedTarget(), [judge]), [case(1)]).values()
    assert outcome.score is None
    assert outcome.verdicts[0].label == "judge-error"


def test_a_score_of_another_library_becomes_a_plain_number(bench: Bench) -> None:
    import numpy as np

    judge = Critic(lambda responses: [make_verdict(np.float64(0.5), "critic/1", "odd") for _ in responses])
    (outcome,) = bench.ask(bench.engine(ScriptedTarget(), [judge]), [case(1)]).values()
    assert type(outcome.score) is float


def test_something_else_than_a_verdict_is_unscored(bench: Bench) -> None:
    judge = Critic(lambda responses: ["fine" for _ in responses])
    (outcome,) = bench.ask(bench.engine(ScriptedTarget(), [judge]), [case(1)]).values()
    assert outcome.to_dict()["verdicts"][0]["score"] is None


# --- beginning and end


def test_closing_during_work_ends_after_the_batch_in_hand_and_loses_no_answer(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(requests: Sequence[Request]) -> list[str]:
        begun.set()
        go_on.wait(PATIENCE)
        return yes(requests)

    target = ScriptedTarget(slow)
    bench = Bench()
    engine = bench.engine(target, store=tmp_path / "s")
    engine.submit(cases(40))
    assert begun.wait(PATIENCE)
    threading.Timer(0.1, go_on.set).start()
    bench.close()
    assert target.sizes == [4]
    again = ScriptedTarget()
    outcomes = bench.ask(bench.engine(again, store=tmp_path / "s"), cases(40))
    bench.close()
    assert sum(outcome.stored for outcome in outcomes.values()) == 4
    assert prompts(target) + prompts(again) == [[f"prompt {i:04}" for i in range(n, n + 4)] for n in range(0, 40, 4)]


def test_an_engine_without_work_closes(bench: Bench) -> None:
    bench.engine(ScriptedTarget())
    bench.close()


def test_the_engine_runs_ahead_of_who_collects(bench: Bench) -> None:
    engine = bench.engine(ScriptedTarget())
    some = cases(40)
    engine.submit(some)
    deadline = time.monotonic() + PATIENCE
    while engine.settled < 40 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert engine.settled == engine.answered == 40
    assert [o.case for o in engine.collect(some[7:9], lambda: None)] == ["demo/c7", "demo/c8"]


def test_waiting_ticks(bench: Bench) -> None:
    ticks: list[float] = []
    enough = threading.Event()

    def slow(requests: Sequence[Request]) -> list[str]:
        assert enough.wait(PATIENCE)
        return yes(requests)

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 3:
            enough.set()

    engine = bench.engine(ScriptedTarget(slow))
    engine.submit(cases(1))
    (outcome,) = engine.collect(cases(1), tick, 0.01)
    assert outcome.response == "yes"
    assert len(ticks) >= 3


def test_outcomes_can_be_had_twice(bench: Bench) -> None:
    """As with --keep-duplicates, and with plugins that run a failed item again."""
    engine = bench.engine(ScriptedTarget())
    engine.submit(cases(3))
    for _ in range(2):
        outcomes = within(1, lambda: engine.collect(cases(3), lambda: None, 0.05))
        assert len(outcomes) == 3
