"""Runs the items of this process: plans when selection is final, asks ahead of pytest, puts outcomes on reports."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_mmsafety.attacks.cases import calls_of, is_searched
from pytest_mmsafety.engine.batches import units
from pytest_mmsafety.engine.engine import INTERRUPT_TIMEOUT, Engine
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.plugin.items import GroupItem, NoAnswerError
from pytest_mmsafety.plugin.keys import EARLY_STOP, LEFT
from pytest_mmsafety.store import Store

if TYPE_CHECKING:
    from pytest_mmsafety.cases import Case
    from pytest_mmsafety.engine.progress import Progress
    from pytest_mmsafety.evaluation.early_stop import EarlyStop
    from pytest_mmsafety.judges import Judge
    from pytest_mmsafety.plugin.attacker import Attacker
    from pytest_mmsafety.plugin.settings import Settings
    from pytest_mmsafety.targets import Target


class Runner:
    """Owns the engine of this process. Registered as a plugin in a single process and in xdist workers."""

    def __init__(
        self,
        settings: Settings,
        target: Callable[[], Target],
        judges: list[Judge],
        *,
        workers: int,
        progress: Progress | None,
    ) -> None:
        self._settings = settings
        self._make_target = target
        self.panel = Panel(judges, settings.judge_timeout)
        self._workers = workers
        self._progress = progress
        self._engine: Engine | None = None
        self._unit_of: dict[str, int] = {}
        self._waiting: dict[int, list[GroupItem]] = {}
        """Units whose cases were not submitted yet."""
        self._keys: set[str] = set()
        """Of the cases of all items."""
        self._early_stop: EarlyStop | None = None
        self._served: dict[str, Outcome] = {}
        """Outcomes under an early stop, also of the cases that it left out."""
        self._session: pytest.Session | None = None
        self._worker = ""
        self._channel: Any = None
        """Of a worker: to its controller."""
        self._left: Mapping[str, Any] | None = None
        self._attacker = self._make_attacker()

    def _make_attacker(self) -> Attacker | None:
        if self._settings.attack is None:
            return None
        from pytest_mmsafety.plugin.attacker import Attacker

        return Attacker(self._settings.attack, self._settings.memory)

    @property
    def left(self) -> Mapping[str, Any] | None:
        """What no item has reported when the run was stopped, as on a report; ``None``: it was not stopped."""
        return self._left

    @pytest.hookimpl(wrapper=True, trylast=True)  # registered after the controller: the engine ends before it evaluates
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Selection is final now."""
        self._session = session
        items = [item for item in session.items if isinstance(item, GroupItem) and item.cases]
        if session.config.option.collectonly:
            return (yield)
        self._worker = getattr(session.config, "workerinput", {}).get("workerid", "")
        self._channel = _channel(session.config) if self._worker else None
        if items:
            self._plan(session, items)
        stopped = True
        try:
            result = yield
            stopped = False
            return result
        finally:
            if self._engine:
                self._end(self._engine, stopped=stopped)

    @property
    def engine(self) -> Engine:
        """Made when it is first needed: by the groups, or by a test with the fixture ``target``."""
        if self._engine is None:
            store = Store(self._settings.store)
            if self._settings.fresh:
                store.ask_anew(self._settings.asked)
            self._engine = Engine(
                self._make_target,
                self.panel,
                store,
                self._settings.batch_size,
                judge_after=self._settings.judge_phase == "after",
                timeout=self._settings.answer_timeout,
            )
        return self._engine

    def _plan(self, session: pytest.Session, items: Sequence[GroupItem]) -> None:
        """Cut the work into units; a single process gives the engine all of them at once."""
        after, batch_size = self._settings.judge_phase == "after", self._settings.batch_size
        self._early_stop = session.config.stash.get(EARLY_STOP, None)
        self._keys = {case.key for item in items for case in item.cases}
        calls = [calls_of(item.cases, self._settings.attack) for item in items]
        for item, number in zip(items, units(calls, batch_size, self._workers, whole=after), strict=True):
            self._unit_of[item.nodeid] = number
            if self._attacker and is_searched(item.cases):
                self._attacker.add(number, item.cases)
            else:
                self._waiting.setdefault(number, []).append(item)
        if self._early_stop:
            self._waiting.clear()  # its order is another
        elif not self._workers:
            for number in list(self._waiting):
                self._submit(number)
        if self._progress:
            self._progress.start(sum(calls))

    def _end(self, engine: Engine, *, stopped: bool) -> None:
        """*stopped*: by Ctrl-C, or by the first failure under -x."""
        if stopped and self._progress and engine.busy:
            self._progress.say(
                f"interrupted: waiting {INTERRUPT_TIMEOUT:g} s for the batch in hand (Ctrl-C again to drop it)"
            )
        if self._progress:
            self._progress.finish()
        try:
            engine.close(interrupted=stopped)
        finally:  # also after a second Ctrl-C
            if stopped:
                self._left = self._payload(engine, [*self._served.values(), *self._left_behind(engine)])

    def _left_behind(self, engine: Engine) -> list[Outcome]:
        """Outcomes that no item reported; variants that an attack asked for are no cases of the run."""
        if self._attacker is None:
            return engine.left()
        return [*(outcome for outcome in engine.left() if outcome.case in self._keys), *self._attacker.left()]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A worker that was stopped says with its last word what it knows."""
        if self._left and (last_word := getattr(session.config, "workeroutput", None)) is not None:
            last_word[LEFT] = self._left

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """A process whose threads hang would not end; it is ours only if pytest is its command."""
        command = Path(sys.argv[0]).stem in {"pytest", "py.test", "__main__"}
        if command and self._session and self._engine and self._engine.hangs:
            from pytest_mmsafety.targets.time_limit import end_in_time

            end_in_time(int(self._session.exitstatus))

    def prepare(self, cases: Sequence[Case]) -> None:
        """Called at collection: make the judges that *cases* name. Raises :class:`SetupError`."""
        self.panel.prepare(cases)

    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """A worker learns of its units one by one: have this one worked on, and the next one too."""
        for some in (item, nextitem):
            if some is not None and some.nodeid in self._unit_of:
                self._submit(self._unit_of[some.nodeid])

    def _submit(self, number: int) -> None:
        if items := self._waiting.pop(number, None):
            self.engine.submit([case for item in items for case in item.cases])

    def outcomes_of(self, cases: Sequence[Case]) -> list[Outcome]:
        """Called by an item's setup: block until its cases have outcomes."""
        engine = self.engine
        if self._attacker and is_searched(cases):
            return self._attacker.outcomes_of(cases, engine, self.tick)
        if self._early_stop is None:
            return engine.collect(cases, self.tick)
        if not self._served:
            self._serve(engine, self._early_stop)
        missing = [case for case in cases if case.key not in self._served]  # skipped, or run again after an error
        self._served.update((outcome.case, outcome) for outcome in engine.collect(missing, self.tick))
        outcomes = [self._served[case.key] for case in cases]
        for outcome in outcomes:
            if outcome.error:
                del self._served[outcome.case]
        return outcomes

    def _serve(self, engine: Engine, early_stop: EarlyStop) -> None:
        """Have asked what is needed, of all items, one stretch ahead: the target need not wait for the judges."""
        ahead = early_stop.next_cases()
        engine.submit(ahead)
        while here := ahead:
            ahead = early_stop.next_cases()
            engine.submit(ahead)
            outcomes = engine.collect(here, self.tick)
            early_stop.take(outcomes)
            self._served.update((outcome.case, outcome) for outcome in outcomes)
        self._served.update(
            (key, Outcome(key, skipped="early stop: no gate needs its answer any more", skip_kind="early-stop"))
            for key in early_stop.not_asked
        )

    def tick(self) -> None:
        """Called now and then by whoever waits for the engine."""
        if self._channel is not None:
            self._heed_controller()
        if self._progress and self._engine:
            after = self._settings.judge_phase == "after"
            settled = 0 if self._attacker else self._engine.settled  # a search has answers judged twice
            self._progress.show(max(settled, self._engine.answered if after or self._attacker else 0))

    def _heed_controller(self) -> None:
        """End with it: xdist itself only notices between two items."""
        try:
            self._channel.waitclose(0)
        except self._channel.TimeoutError:
            return
        except EOFError:  # it was killed
            pass
        raise KeyboardInterrupt

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Outcomes ride on the setup report, which there always is."""
        report = yield
        if call.excinfo is not None and isinstance(call.excinfo.value, NoAnswerError):
            report.longrepr = str(call.excinfo.value)  # Item.repr_failure is only asked about the call phase
            report.mmsafety_reasons = call.excinfo.value.reasons  # type: ignore[attr-defined]
        if isinstance(item, GroupItem) and self._engine and call.when == "setup":
            report.mmsafety = self._payload(self._engine, item.outcomes)  # type: ignore[attr-defined]
        if isinstance(item, GroupItem) and item.outcomes and call.when == "call":
            report.mmsafety_letter = _letter(item.outcomes)  # type: ignore[attr-defined]
            item.outcomes = ()
        return report

    def _payload(self, engine: Engine, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Builtins only: it may go to another process."""
        return {
            "outcomes": [outcome.to_dict() for outcome in outcomes],
            "notes": list(engine.notes),
            "calls": engine.target.calls,
            "target": engine.target.name,
            "fingerprint": engine.target.fingerprint,
            "judges": engine.judges,
            **(self._attacker.report() if self._attacker else {}),
            "worker": self._worker,
        }


def _channel(config: pytest.Config) -> Any:
    """To the controller, from a worker of xdist."""
    return next((plugin.channel for plugin in config.pluginmanager.get_plugins() if hasattr(plugin, "torun")), None)


def _letter(outcomes: Sequence[Outcome]) -> list[str]:
    """The letter and the word of a group that ran, for the terminal."""
    answered = [outcome.score for outcome in outcomes if outcome.response is not None]
    failing = sum(1 for score in answered if score)
    if failing:
        return ["u", f"{failing}/{len(answered)} NOT AS EXPECTED"]
    if None in answered:
        return ["?", f"{answered.count(None)}/{len(answered)} UNSCORED"]
    return [".", "AS EXPECTED"]
