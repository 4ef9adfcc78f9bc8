"""What the one process does that sees every result: collect outcomes, evaluate gates, report them, write the run."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_mmsafety import baselines
from pytest_mmsafety.evaluation.checks import idle_baseline, misspelt_tolerance, unmatched
from pytest_mmsafety.evaluation.evaluate import evaluate_gates
from pytest_mmsafety.evaluation.flicker import flicker_note
from pytest_mmsafety.files import write_atomically
from pytest_mmsafety.gates import Gate, GateResult
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.plugin.gate_reports import gate_report, relative_name
from pytest_mmsafety.plugin.items import GroupItem, SuiteFile
from pytest_mmsafety.plugin.keys import EARLY_STOP, EXECUTION
from pytest_mmsafety.run import Record, Run, SuiteInfo, environment, make_record, model_name, public_arguments, save_run
from pytest_mmsafety.suites import SUITE_SUFFIXES

if TYPE_CHECKING:
    from pytest_mmsafety.engine.progress import Progress
    from pytest_mmsafety.evaluation.early_stop import EarlyStop
    from pytest_mmsafety.plugin.library import Library
    from pytest_mmsafety.plugin.settings import Settings
    from pytest_mmsafety.policies import Policy


class Controller:
    """Registered as a plugin in a single process and in the controller of xdist, never in a worker."""

    def __init__(  # noqa: PLR0913 - all that a verdict depends on
        self,
        settings: Settings,
        policy: Policy | None,
        library: Library,
        *,
        baseline: Run | None = None,
        distributed: bool,
        progress: Progress | None = None,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._library = library
        self._baseline = baseline
        self._distributed = distributed
        self._progress = progress
        self._outcomes: dict[str, Outcome] = {}
        self._notes: list[str] = []
        self._calls: dict[str, int] = {}
        self._target = settings.model
        self._fingerprint = ""
        self._judges: dict[str, str] = {}
        """Name -> fingerprint of judges with weights."""
        self._gates: list[GateResult] | None = None
        self._early_stop: EarlyStop | None = None
        self._started = self._complete = False
        self._written: list[str] = []
        self._write_errors: list[str] = []

    # --- what was collected

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Single process: everything was met, nothing was asked yet."""
        if not self._distributed and not session.config.option.collectonly:
            self._library.read_found()
            if any(isinstance(item.parent, SuiteFile) for item in session.items):
                self._check_collected()
                self._check_tolerated(session.config)
                if self._settings.early_stop and self._policy:
                    self._early_stop = session.config.stash[EARLY_STOP] = self._plan_early_stop(session, self._policy)

    def _plan_early_stop(self, session: pytest.Session, policy: Policy) -> EarlyStop:
        from pytest_mmsafety.evaluation.early_stop import EarlyStop

        selected = [case for item in session.items if isinstance(item, GroupItem) for case in item.cases]
        return EarlyStop(policy.gates, selected, self._library.cases, self._settings.batch_size)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """xdist: the controller collects nothing, so it reads the suites that the workers collected."""
        selected = sum(len(self._library.group(nodeid, self._settings.root)) for nodeid in ids)
        if self._progress and not self._progress.started:
            self._progress.start(selected)
        self._check_collected()
        self._check_tolerated(node.config)

    def _check_collected(self) -> None:
        """Bad options that only show once the cases are known. Raises ``UsageError``: exit code 4, no model loaded."""
        for name in self._library.unused_data():
            raise pytest.UsageError(f"--data: {name!r} is asked for by no collected suite")
        self._check_baseline()
        if self._policy:
            tags = [(case.suite, case.tags) for case in self._library.cases]
            reasons = [(gate, unmatched(gate, tags)) for gate in self._policy.gates]
            if not self._settings.thresholds:  # nobody asked for this policy: what does not apply is left out
                self._leave_out([gate for gate, reason in reasons if not reason])
            elif tags and all(reason for _, reason in reasons):
                gate, reason = reasons[0]
                raise pytest.UsageError(
                    f"--thresholds: {self._policy.path}: matches no collected case; gate {gate.name!r}: {reason}"
                )

    def _leave_out(self, gates: Sequence[Gate]) -> None:
        """Keep these gates of the default policy. Raises ``UsageError`` if there are none and somebody wants some."""
        assert self._policy
        if gates:
            self._policy = replace(self._policy, gates=tuple(gates))
            return
        reason = f"no gate of {self._policy.name}, the default policy, matches a case"
        if self._settings.require_gates:
            raise pytest.UsageError(f"--require-gates: {reason}; give --thresholds")
        self._notes.append(f"{reason}: nothing is gated")
        self._policy = None

    def _check_tolerated(self, config: pytest.Config) -> None:
        """Raises ``UsageError`` if a filter of zero tolerance is misspelt; of a part of the suites nobody knows."""
        partial = self._settings.subset < 1 or self._library.broken or config.getoption("lf", False)  # noqa: FBT003
        if self._policy is None or not self._settings.thresholds or partial:
            return
        tags = [(case.suite, case.tags) for case in self._library.cases]
        for gate in self._policy.gates:
            if problem := misspelt_tolerance(gate, tags):
                raise pytest.UsageError(f"--thresholds: {self._policy.path}: gate {gate.name!r}: {problem}")

    def _check_baseline(self) -> None:
        """What can be compared before anything is asked: the judges are known when they have spoken."""
        if self._baseline is None:
            return
        differences = [
            *baselines.setting_differences(self._run_settings(), self._baseline.settings),
            *baselines.case_differences(list(self._library.cases), self._baseline.records),
        ]
        if reason := baselines.refusal(differences, self._settings.baseline_allow):
            raise pytest.UsageError(f"--baseline: {reason}")

    def pytest_report_collectionfinish(self, config: pytest.Config) -> list[str]:
        """Before anything is asked, in a single process: gates that these judges will probably leave silent."""
        from pytest_mmsafety.calibration import known_errors
        from pytest_mmsafety.evaluation.forecast import silent_gates

        execution = config.stash.get(EXECUTION, None)
        if execution is None or self._policy is None or config.option.collectonly:
            return []
        cases = list(self._library.cases)
        errors = known_errors(self._settings.calibrations)
        found = silent_gates(self._policy.gates, cases, execution.panel, errors)
        return [f"mmsafety: {line}" for line in found]

    # --- what came of it

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        path = self._settings.root / report.nodeid.partition("::")[0]
        if report.failed and path.suffix in SUITE_SUFFIXES:
            self._library.broken.setdefault(path, str(report.longrepr))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        payload = vars(report).pop("mmsafety", None)  # reports are kept to the end; this part need not be
        if payload is None:
            return
        for data in payload["outcomes"]:
            outcome = Outcome.from_dict(data)
            self._outcomes[outcome.case] = outcome
        self._notes += [note for note in payload["notes"] if note not in self._notes]
        self._calls[payload["worker"]] = payload["calls"]
        self._target = payload["target"] or self._target
        self._fingerprint = payload["fingerprint"] or self._fingerprint
        self._judges |= payload["judges"]
        if self._progress:
            self._progress.show(len(self._outcomes))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """After the last item, if the run came that far, the gates are evaluated and reported as tests."""
        self._started = True
        result = yield
        self._complete = True
        if self._settings.samples > 1 and (note := flicker_note(self._records)):
            self._notes.append(note)
        if self._early_stop:
            self._notes.append(self._early_stop.note)
        if self._baseline and self._policy and (note := idle_baseline(self._policy.gates)):
            self._notes.append(note)
        nothing_ran = not session.testscollected and not self._settings.require_gates
        if self._policy and any(self._library.cases) and not session.config.option.collectonly and not nothing_ran:
            self._gates = evaluate_gates(
                self._records,
                self._early_stop.gates if self._early_stop else self._policy.gates,
                broken=self._unknown_cases(session),
                require=self._settings.require_gates,
                baseline=self._comparable_baseline(),
                calibrations=self._settings.calibrations,
                stopped=self._early_stop.stopped if self._early_stop else {},
            )
            self._emit(session, self._gates)
        return result

    def _comparable_baseline(self) -> Sequence[Record] | None:
        if self._baseline is None:
            return None
        differences = baselines.judge_differences(self._records, self._baseline.records)
        if reason := baselines.refusal(differences, self._settings.baseline_allow):
            self._notes.append(f"not compared with the baseline: {reason}")
            return None
        return self._baseline.records

    def _unknown_cases(self, session: pytest.Session) -> str:
        """Why it is not known which cases there are, so that no gate can be evaluated; or empty."""
        for reason in self._library.broken.values():
            return f"a suite could not be read: {reason.splitlines()[0]}"
        last_failed: Any = session.config.pluginmanager.get_plugin("lfplugin")
        failed = last_failed.lastfailed if self._distributed and last_failed and last_failed.active else ()
        if any(self._library.group(nodeid, self._settings.root) for nodeid in failed):
            # The workers pass over whole files, and the controller never hears of them.
            return "--lf runs a part of the suites"
        return ""

    @cached_property
    def _records(self) -> tuple[Record, ...]:
        """Of every collected case; first read when the last outcome is in."""
        return tuple(
            make_record(case, self._outcomes.get(case.key), suite.root)
            for suite in self._library.suites
            for case in suite.cases
        )

    def _emit(self, session: pytest.Session, results: Sequence[GateResult]) -> None:
        """One synthetic test a gate: counted, in JUnit, honoured by every reporting option."""
        assert self._policy
        file = relative_name(self._policy.path, session.config.rootpath)
        session.testscollected += len(results)
        for result in results:
            location = (file, None, result.gate.name)
            nodeid = f"{file}::{result.gate.name}"
            session.config.hook.pytest_runtest_logstart(nodeid=nodeid, location=location)
            for when in ("setup", "call", "teardown"):
                session.config.hook.pytest_runtest_logreport(report=gate_report(result, nodeid, location, when))
            session.config.hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)

    # --- what is left behind

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write what was asked for, also after an interruption: what is known is kept."""
        if session.config.option.collectonly or not (self._started and any(self._library.cases)):
            return
        settings = self._settings
        if not (settings.save_run or settings.safety_report or settings.safety_summary):
            return
        run = self._run()
        if settings.save_run:
            self._write("--save-run", settings.save_run, lambda path: save_run(run, path))
        if settings.safety_report:
            self._write("--safety-report", settings.safety_report, lambda path: self._report(run, path))
        if settings.safety_summary:
            self._write("--safety-summary", settings.safety_summary, lambda path: self._summary(run, path))
        if self._write_errors and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _write(self, option: str, path: Path, write: Any) -> None:
        try:
            write(path)
            self._written.append(f"{option.removeprefix('--')}: {path}")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            self._write_errors.append(f"{option}: {path} cannot be written: {reason}")

    def _summary(self, run: Run, path: Path) -> None:
        from pytest_mmsafety.report.markdown import markdown_summary

        write_atomically(path, [markdown_summary(run, self._baseline)])

    def _report(self, run: Run, path: Path) -> None:
        from pytest_mmsafety.report import write_report

        paths = {
            digest: file
            for case in self._library.cases
            if (outcome := self._outcomes.get(case.key))
            for file, digest in zip(case.images, outcome.image_digests, strict=False)
        }
        write_report(run, path, image_paths=paths, baseline=self._baseline, calibrations=self._settings.calibrations)

    def _run(self) -> Run:
        notes = list(self._notes)
        if failed := list(self._failed_must_pass()):
            some = ", ".join(failed[:5]) + (" ..." if len(failed) > 5 else "")
            notes.insert(
                0, f"{len(failed)} cases that must pass did not, which fails the run whatever the gates say: {some}"
            )
        if self._settings.subset < 1:
            notes.append(
                f"a fixed part of each suite was asked ({self._settings.subset:.0%}): gates speak of that part"
            )
        if not self._complete:
            notes.insert(0, "the run was stopped before its end: no gate was evaluated")
        return Run(
            target=self._target,
            fingerprint=self._fingerprint,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            version=version("pytest-mmsafety"),
            environment={**environment(), **{f"judge {name}": print_ for name, print_ in self._judges.items()}},
            settings={**self._run_settings(), "target_calls": str(sum(self._calls.values()))},
            suites=tuple(SuiteInfo(s.name, s.benchmark, s.title, s.sha256, len(s.cases)) for s in self._library.suites),
            records=self._records,
            gates=tuple(self._gates or ()),
            policy=self._policy.name if self._policy else "",
            notes=tuple(notes),
        )

    def _run_settings(self) -> dict[str, str]:
        """What a run notes of its options, and what a comparison looks at."""
        arguments = public_arguments(self._settings.model_args)
        judge_arguments = public_arguments(self._settings.judge_args)
        return {
            "model": model_name(self._settings.model),
            **{f"model_args.{name}": value for name, value in arguments.items()},
            "judge": self._settings.judge,
            **{f"judge_args.{name}": model_name(value) for name, value in judge_arguments.items()},
            "batch_size": str(self._settings.batch_size),
            "samples": str(self._settings.samples),
            "subset": f"{self._settings.subset:g}",
            **({"early_stop": "true"} if self._settings.early_stop else {}),
        }

    def _failed_must_pass(self) -> Iterator[str]:
        for case in self._library.cases:
            outcome = self._outcomes.get(case.key)
            if case.must_pass and outcome and outcome.response is not None and outcome.score != 0:
                yield case.key

    # --- what the terminal says

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if terminalreporter.config.option.collectonly or not (self._started and any(self._library.cases)):
            return
        from pytest_mmsafety.calibration import known_errors
        from pytest_mmsafety.plugin.terminal import summary_lines

        terminalreporter.ensure_newline()
        terminalreporter.section("mmsafety")
        lines = summary_lines(
            self._target,
            list(self._outcomes.values()),
            sum(self._calls.values()),
            self._gates,
            self._notes,
            errors=known_errors(self._settings.calibrations),
        )
        for text, colour in lines:
            terminalreporter.write_line(text, **({colour: True} if colour else {}))
        if not self._complete:
            terminalreporter.write_line("gates: not evaluated, the run was stopped before its end", yellow=True)
            if self._settings.store:
                terminalreporter.write_line("every answer so far is in the store; the same command goes on from there")
        elif self._policy is None:
            hint = "gates: none asked for (--thresholds=FILE, or the name of a shipped policy)"
            terminalreporter.write_line(hint, yellow=True)
        for line in self._written:
            terminalreporter.write_line(line)
        for line in self._write_errors:
            terminalreporter.write_line(line, red=True)
