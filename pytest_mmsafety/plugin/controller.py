"""The process that sees every result: collects outcomes, evaluates gates, reports them, writes the run."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.plugin.artefacts import Artefacts
from pytest_mmsafety.plugin.gate_reports import report_gates
from pytest_mmsafety.plugin.items import GroupItem, SuiteFile
from pytest_mmsafety.plugin.junit import name_class
from pytest_mmsafety.plugin.keys import EARLY_STOP, LEFT, OUTCOMES
from pytest_mmsafety.plugin.recorder import Recorder
from pytest_mmsafety.store import Store
from pytest_mmsafety.suites import SUITE_SUFFIXES

if TYPE_CHECKING:
    from pytest_mmsafety.engine.progress import Progress
    from pytest_mmsafety.evaluation.early_stop import EarlyStop
    from pytest_mmsafety.gates import GateResult
    from pytest_mmsafety.plugin.collected import Collected
    from pytest_mmsafety.plugin.settings import Settings

WORKERS_EXIT_TIMEOUT = 4.0
"""Seconds that workers get to end after a stop: their engine's wait, and their last word."""


class Controller:
    """Registered as a plugin in a single process and in the controller of xdist, never in a worker."""

    def __init__(
        self, settings: Settings, collected: Collected, *, distributed: bool, progress: Progress | None = None
    ) -> None:
        self._settings = settings
        self._collected = collected
        self._library = collected.library
        self._recorder = Recorder(settings, collected.library)
        self._artefacts = Artefacts(settings)
        self._distributed = distributed
        self._progress = progress
        self._early_stop: EarlyStop | None = None
        self._gates: list[GateResult] | None = None
        self._notes: list[str] = []
        """What the evaluation has to say besides the results."""
        self._started = self._complete = False
        self._session: pytest.Session | None = None
        self._began = datetime.now(UTC).isoformat(timespec="microseconds")
        self._nodes: list[Any] = []
        """Workers of xdist, also those that have ended."""
        self._items = 0
        """Tests besides the gates; known when the first of them has reported."""

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session

    # --- what was collected

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Single process: every suite was collected, nothing was asked yet."""
        if self._distributed or session.config.option.collectonly:
            return
        self._library.read_found()
        self._check(session.config)
        if not any(isinstance(item.parent, SuiteFile) for item in session.items):
            return
        if self._settings.early_stop and self._collected.gates:
            selected = [case for item in session.items if isinstance(item, GroupItem) for case in item.cases]
            self._early_stop = session.config.stash[EARLY_STOP] = self._collected.plan_early_stop(selected)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """xdist: the controller collects nothing, so it reads the suites that the workers collected."""
        selected = sum(len(self._library.group(nodeid, self._settings.root)) for nodeid in ids)
        if self._progress and not self._progress.started:
            self._progress.start(selected)
        self._check(node.config)

    def _check(self, config: pytest.Config) -> None:
        """Raises ``UsageError``: exit code 4, no model loaded."""
        last_failed = bool(config.getoption("lf", False))  # noqa: FBT003
        try:
            self._collected.check(self._recorder.run_settings, last_failed=last_failed)
        except SetupError as error:
            raise pytest.UsageError(str(error)) from None

    def pytest_report_collectionfinish(self, config: pytest.Config) -> list[str]:
        source = config.stash.get(OUTCOMES, None)
        if source is None or not self._collected.gates or config.option.collectonly:
            return []
        return [f"mmsafety: {line}" for line in self._collected.forecast(source.panel)]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        path = self._settings.root / report.nodeid.partition("::")[0]
        if report.failed and (path.suffix in SUITE_SUFFIXES or path.is_symlink()):
            self._library.broken.setdefault(path, str(report.longrepr))

    # --- outcomes and gates

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._session and not self._items:  # gates count as tests from the start: the percentage ends at 100
            self._items = self._session.testscollected
            self._session.testscollected += len(self._collected.gates)
        if self._session and report.when == "setup":
            name_class(self._session.config, report)
        payload = vars(report).pop("mmsafety", None)  # reports are kept to the end; this part need not be
        if payload is not None:
            self._recorder.take(payload)
            if self._progress:
                self._progress.show(len(self._recorder.outcomes))

    @pytest.hookimpl(wrapper=True, trylast=True)  # before the terminal writes its last percentage
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """After the last item, if the run came that far, the gates are evaluated and reported as tests."""
        self._started = True
        result = yield
        self._complete = True
        self._evaluate(session)
        return result

    def _evaluate(self, session: pytest.Session) -> None:
        if session.config.option.collectonly:
            return
        from pytest_mmsafety.evaluation.checks import idle_judge_errors
        from pytest_mmsafety.evaluation.evaluate import Evidence, evaluate_run
        from pytest_mmsafety.evaluation.flicker import flicker_note

        early_stop, policy = self._early_stop, self._collected.policy
        if self._settings.fresh and not any(outcome.error for outcome in self._recorder.outcomes.values()):
            self._end_fresh()
        self._recorder.broken = self._collected.unknown_cases(self._passed_over(session))
        self._notes += self._recorder.end_notes()
        if self._settings.samples > 1 and (note := flicker_note(self._recorder.records)):
            self._notes.append(note)
        if early_stop:
            self._notes.append(early_stop.note)
        if self._settings.attack:
            from pytest_mmsafety.judge_errors import known_errors
            from pytest_mmsafety.metrics import METRICS

            self._notes += self._recorder.attack_notes(known_errors(self._settings.judge_errors))
            if policy and not any(METRICS[gate.metric].of_attacks for gate in policy.gates):
                self._notes.append("no gate is about the attack, so what it broke blocks nothing (docs/attacks.md)")
        nothing_ran = not session.testscollected and not self._settings.require_gates
        if policy is None or nothing_ran or not any(self._library.cases):
            return
        evidence = Evidence(
            baseline=self._collected.baseline,
            allow=self._settings.baseline_allow,
            judge_errors=self._settings.judge_errors,
            stopped=early_stop.stopped if early_stop else {},
        )
        gates = early_stop.gates if early_stop else policy.gates
        run = self._recorder.run(complete=True)
        self._recorder.idle = idle_judge_errors(run, self._settings.judge_errors)
        evaluation = evaluate_run(run, gates, evidence, require=self._settings.require_gates)
        self._notes += evaluation.notes
        self._gates = evaluation.results
        session.testscollected = self._items + len(self._gates)
        report_gates(session, policy.path, self._gates)

    def _passed_over(self, session: pytest.Session) -> Sequence[str]:
        """Node ids that ``--lf`` selects, under xdist: workers pass over whole files in silence."""
        last_failed: Any = session.config.pluginmanager.get_plugin("lfplugin")
        return list(last_failed.lastfailed) if self._distributed and last_failed and last_failed.active else ()

    def _stored(self) -> int:
        """How many answers of this session are in the store, also those that no test has reported."""
        try:
            store = Store(self._settings.store)
            try:
                return store.given_since(self._began)
            finally:
                store.close()
        except (sqlite3.Error, SetupError):
            return 0

    def _end_fresh(self) -> None:
        """The next ``--fresh`` asks for everything again; until here it would have gone on."""
        store = Store(self._settings.store)
        try:
            store.all_asked(self._settings.asked)
        except sqlite3.Error as error:
            self._notes.append(f"--store: {self._settings.store} takes nothing more ({error})")
        finally:
            store.close()

    # --- what is left behind

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """xdist: a worker begins."""
        self._nodes.append(node)

    def _take_left(self, session: pytest.Session) -> None:
        """After a stop: what was answered and no test has reported."""
        source = session.config.stash.get(OUTCOMES, None)
        left = [source.left] if source else [getattr(node, "workeroutput", {}).get(LEFT) for node in self._nodes]
        for payload in filter(None, left):
            self._recorder.take(payload)

    @pytest.hookimpl(wrapper=True, trylast=True)  # xdist ends its workers within it, the terminal sums up after it
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Write what was asked for, also after an interruption: what is known is kept."""
        manager = getattr(session.config.pluginmanager.get_plugin("dsession"), "nodemanager", None)
        if manager is not None and not self._complete:
            manager.EXIT_TIMEOUT = WORKERS_EXIT_TIMEOUT  # instead of 10 s: a CI kills this process before that
        result = yield
        self._finish(session)
        return result

    def _finish(self, session: pytest.Session) -> None:
        if session.config.option.collectonly or not (self._started and any(self._library.cases)):
            return
        if not self._complete:
            self._take_left(session)
        if self._artefacts.wanted:
            self._write()
        failed = self._artefacts.errors or list(self._recorder.failures())
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _write(self) -> None:
        notes = [*self._collected.notes, *self._notes]
        run = self._recorder.run(self._collected.policy, self._gates or (), notes, complete=self._complete)
        self._artefacts.write(run, self._collected.baseline, self._image_paths())

    def _image_paths(self) -> dict[str, str]:
        """SHA-256 of each image that was read -> its file."""
        outcomes = self._recorder.outcomes
        return {
            digest: file
            for case in self._library.cases
            if (outcome := outcomes.get(case.key)) and not case.edits
            for file, digest in zip(case.images, outcome.image_digests, strict=False)
        }

    # --- the terminal

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if terminalreporter.config.option.collectonly or not (self._started and any(self._library.cases)):
            return
        from pytest_mmsafety.judge_errors import known_errors
        from pytest_mmsafety.plugin.terminal import attack_lines, ending_lines, summary_lines

        recorder = self._recorder
        terminalreporter.ensure_newline()
        terminalreporter.section("mmsafety")
        lines = [
            *summary_lines(
                recorder.target,
                recorder.plain_outcomes,
                recorder.calls,
                self._gates,
                [*recorder.notes, *self._collected.notes, *self._notes],
                errors=known_errors(self._settings.judge_errors),
                attack=attack_lines(
                    recorder.attacked,
                    recorder.findings,
                    len(recorder.judge_faults),
                    promotable=self._settings.save_run is not None,
                ),
            ),
            *ending_lines(
                complete=self._complete,
                gated=self._collected.policy is not None,
                stored=None if self._complete or not self._settings.store else self._stored(),
            ),
            *((line, "") for line in self._artefacts.written),
            *((f"the run failed: {line}", "red") for line in recorder.failures()),
            *((line, "red") for line in self._artefacts.errors),
        ]
        for text, colour in lines:
            terminalreporter.write_line(text, **({colour: True} if colour else {}))
