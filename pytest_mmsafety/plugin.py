"""The pytest plugin: options, and what they switch on.

Nothing heavy is imported here: the plugin is loaded in every pytest run of its environment.
"""

from __future__ import annotations

import os
import re
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_mmsafety.items import SuiteFile
    from pytest_mmsafety.policies import Policy
    from pytest_mmsafety.run import Run
    from pytest_mmsafety.settings import Settings

_OPTIONS: tuple[tuple[str, str, str], ...] = (
    ("model", "CHECKPOINT", "target: checkpoint folder, hub id, package.module:attribute, or 'embedded'"),
    ("model-args", "K=V,...", "arguments of the target, for example max_new_tokens=64,dtype=bfloat16"),
    ("judge", "JUDGE", "a judge asked before the built-in ones: its name, or package.module:attribute of your own"),
    ("judge-args", "K=V,...", "arguments of that judge, for example llm=BASE,adapter=FOLDER,hallucination=FILE"),
    ("judge-phase", "WHEN", "with: judge while the target works (default); after: when it is done and released"),
    ("thresholds", "FILE", "thresholds file, or the name of a shipped policy (release, nightly, report-only, ...)"),
    ("batch-size", "N", "cases the target is asked at once (default 8)"),
    ("baseline", "RUN", "saved run that gates with max_regression compare with, or the name of a promoted one"),
    ("baseline-allow", "KIND,...", "compare with it although these differ: decoding,judge,cases"),
    ("calibration", "FILE,...", "how often judges err (mmsafety judge evaluate): gated rates are corrected for it"),
    ("samples", "K", "ask every case K times, of a target that samples (default 1)"),
    ("subset", "SHARE", "a fixed part of every suite, for example 10%%; gates speak of that part"),
    ("store", "FILE", "SQLite file that keeps every answer (default .mmsafety/store.sqlite3; 'off': none)"),
    ("save-run", "FILE", "write the run as JSON"),
    ("safety-report", "FILE", "write the HTML report"),
    ("safety-summary", "FILE", "write a Markdown summary, for the page of a CI job"),
)
_DEFAULT_STORE = Path(".mmsafety", "store.sqlite3")
_SETTINGS = pytest.StashKey["Settings"]()
_CONTROLLER = "mmsafety-controller"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mmsafety", "safety gates for multimodal checkpoints")
    for name, metavar, text in _OPTIONS:
        dest = f"mmsafety_{name.replace('-', '_')}"
        group.addoption(f"--{name}", metavar=metavar, dest=dest, help=text)
        parser.addini(dest, f"default of --{name}")
    group.addoption(
        "--data", metavar="NAME=PATH", dest="mmsafety_data", action="append", help="folder of an official data set"
    )
    parser.addini("mmsafety_data", "default of --data, one NAME=PATH a line", type="linelist")
    group.addoption(
        "--require-gates",
        dest="mmsafety_require_gates",
        action="store_true",
        default=None,
        help="a gate that could not be evaluated fails the run",
    )
    parser.addini("mmsafety_require_gates", "default of --require-gates", type="bool", default=False)
    group.addoption(
        "--early-stop",
        dest="mmsafety_early_stop",
        action="store_true",
        default=None,
        help="leave out the cases that no gate needs any more, because its verdict is certain",
    )
    parser.addini("mmsafety_early_stop", "default of --early-stop", type="bool", default=False)
    parser.addini("mmsafety_cases", "folders with suites (default: cases, else the shipped ones)", type="paths")


@pytest.hookimpl(trylast=True)  # the terminal reporter is there by then
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "mmsafety(**tags): the tags that all cases of a group share")
    if config.getoption("mmsafety_model") == "":
        raise pytest.UsageError("--model: it is empty; expected a checkpoint (is a variable not set?)")
    if not _option(config, "model"):
        _refuse_options_without_model(config)
        return
    from pytest_mmsafety.errors import MmsafetyError

    _choose_suites(config)
    try:
        _switch_on(config)
    except MmsafetyError as error:
        raise pytest.UsageError(str(error)) from None


def _refuse_options_without_model(config: pytest.Config) -> None:
    given = [name for name, _, _ in _OPTIONS if config.getoption(f"mmsafety_{name.replace('-', '_')}") is not None]
    given += [
        name for name in ("require-gates", "early-stop") if config.getoption(f"mmsafety_{name.replace('-', '_')}")
    ]
    if given and not config.option.collectonly:
        raise pytest.UsageError(f"--{given[0]}: there is nothing to ask; give --model=CHECKPOINT")


def _option(config: pytest.Config, name: str) -> Any:
    """The option, else its ini twin."""
    dest = f"mmsafety_{name.replace('-', '_')}"
    given = config.getoption(dest)
    return config.getini(dest) if given is None else given


def _choose_suites(config: pytest.Config) -> None:
    """``pytest --model=X`` alone, or with ``--pyargs pytest_mmsafety``, runs the suites and nothing else."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(folder) for folder in _suite_folders(config)]
    elif config.option.pyargs:
        from pytest_mmsafety.settings import shipped

        config.args = [str(shipped("cases")) if arg == "pytest_mmsafety" else arg for arg in config.args]


def _suite_folders(config: pytest.Config) -> list[Path]:
    from pytest_mmsafety.settings import shipped

    folders = config.getini("mmsafety_cases") or [config.rootpath / "cases"]
    existing = [folder for folder in folders if folder.is_dir()]
    return existing or [shipped("cases")]


def _switch_on(config: pytest.Config) -> None:
    """Check every option, then register what runs items here and what sees all results."""
    settings = config.stash[_SETTINGS] = _settings(config)
    in_worker = hasattr(config, "workerinput")
    distributed = not in_worker and config.getoption("dist", "no") != "no"
    if not in_worker:
        _register_controller(config, settings, distributed=distributed)
    _register_execution(config, settings, idle=distributed)


def _register_execution(config: pytest.Config, settings: Settings, *, idle: bool) -> None:
    """Find target and judges; *idle* only checks that they are there, because workers run the items."""
    from pytest_mmsafety.execution import Execution
    from pytest_mmsafety.items import EXECUTION
    from pytest_mmsafety.judges.panel import make_judge
    from pytest_mmsafety.targets import find_target

    fetch = not config.option.collectonly
    judges = [make_judge(settings.judge, settings.base, settings.judge_args, fetch=fetch)] if settings.judge else []
    target = find_target(settings.model, settings.model_args, settings.base, fetch=fetch)
    if idle:
        return
    workers = getattr(config, "workerinput", {}).get("workercount", 0)
    progress = None if workers else _progress(config)
    execution = config.stash[EXECUTION] = Execution(settings, target, judges, workers=workers, progress=progress)
    config.pluginmanager.register(execution, "mmsafety-execution")


def _register_controller(config: pytest.Config, settings: Settings, *, distributed: bool) -> None:
    from pytest_mmsafety.controller import Controller
    from pytest_mmsafety.settings import check_writable

    policy = _policy(config, settings)
    if settings.early_stop:
        _check_early_stop(settings, policy, distributed=distributed)
    baseline = _baseline(config, settings, policy)
    written = {
        "--save-run": settings.save_run,
        "--safety-report": settings.safety_report,
        "--safety-summary": settings.safety_summary,
    }
    for option, path in written.items():
        if path:
            check_writable(option, path)
    _check_store(settings)
    progress = _progress(config) if distributed else None
    controller = Controller(
        settings, policy, _library(config), baseline=baseline, distributed=distributed, progress=progress
    )
    config.pluginmanager.register(controller, _CONTROLLER)


def _policy(config: pytest.Config, settings: Settings) -> Policy | None:
    """The thresholds that were asked for; ``release`` for a run of the suites as such; else none."""
    from pytest_mmsafety.policies import find_policy, read_policy
    from pytest_mmsafety.settings import shipped

    paths_named = config.args_source is pytest.Config.ArgsSource.ARGS and not config.option.pyargs
    if settings.thresholds or not paths_named:
        folders = [config.rootpath / "thresholds", shipped("thresholds")]
        return read_policy(find_policy(settings.thresholds or "release", folders, settings.base))
    if settings.require_gates:
        raise pytest.UsageError("--require-gates: there are no gates; give --thresholds")
    return None


def _check_early_stop(settings: Settings, policy: Policy | None, *, distributed: bool) -> None:
    """Refuse what it does not go together with."""
    if policy is None:
        raise pytest.UsageError("--early-stop: there are no gates that could be certain; give --thresholds")
    if distributed:
        raise pytest.UsageError("--early-stop: works in one process, which sees every answer; leave out -n")
    if settings.judge_phase == "after":
        raise pytest.UsageError(
            "--early-stop: judges have to speak while the target works; not with --judge-phase=after"
        )
    if settings.calibrations:
        raise pytest.UsageError(
            "--early-stop: gates that are corrected for a judge's errors need all cases; not with --calibration"
        )


def _baseline(config: pytest.Config, settings: Settings, policy: Policy | None) -> Run | None:
    from pytest_mmsafety.baselines import load_baseline
    from pytest_mmsafety.gates import missing_baseline

    if settings.baseline:
        return load_baseline(settings.baseline, settings.base, config.rootpath)
    if settings.thresholds and policy and (reason := missing_baseline(policy.gates)):
        raise pytest.UsageError(f"--baseline: {reason}")
    return None


def _check_store(settings: Settings) -> None:
    from pytest_mmsafety.store import Store

    Store(settings.store).close()
    if settings.store == settings.root / _DEFAULT_STORE:
        with suppress(OSError):
            (settings.store.parent / ".gitignore").write_text("*\n")


def _settings(config: pytest.Config) -> Settings:
    from pytest_mmsafety.baselines import parse_allowed
    from pytest_mmsafety.settings import (
        Settings,
        parse_calibrations,
        parse_count,
        parse_data,
        parse_pairs,
        parse_phase,
        parse_share,
    )

    root = config.rootpath
    base = config.invocation_params.dir
    store = _option(config, "store")
    save_run, safety_report, safety_summary = (
        _option(config, name) for name in ("save-run", "safety-report", "safety-summary")
    )
    return Settings(
        model=_option(config, "model"),
        model_args=parse_pairs("--model-args", _option(config, "model-args") or ""),
        judge=_judge_option(config),
        judge_args=parse_pairs("--judge-args", _option(config, "judge-args") or ""),
        judge_phase=parse_phase(_option(config, "judge-phase") or "with"),
        thresholds=_option(config, "thresholds") or "",
        data=parse_data(_option(config, "data"), base),
        batch_size=parse_count("--batch-size", _option(config, "batch-size") or "8", 100_000),
        store=None if store == "off" else base / store if store else root / _DEFAULT_STORE,
        save_run=base / save_run if save_run else None,
        safety_report=base / safety_report if safety_report else None,
        safety_summary=base / safety_summary if safety_summary else None,
        require_gates=bool(_option(config, "require-gates")),
        baseline=_option(config, "baseline") or "",
        baseline_allow=parse_allowed(_option(config, "baseline-allow") or ""),
        calibrations=parse_calibrations(_option(config, "calibration") or "", base),
        samples=parse_count("--samples", _option(config, "samples") or "1", 1000),
        subset=parse_share("--subset", _option(config, "subset") or "1"),
        early_stop=bool(_option(config, "early-stop")),
        base=base,
        root=root,
    )


def _judge_option(config: pytest.Config) -> str:
    judge = str(_option(config, "judge") or "")
    if not judge and _option(config, "judge-args"):
        raise pytest.UsageError("--judge-args: there is no judge to give them to; give --judge=NAME")
    return judge


def _library(config: pytest.Config) -> Any:
    from pytest_mmsafety.errors import SetupError
    from pytest_mmsafety.items import LIBRARY
    from pytest_mmsafety.library import Library
    from pytest_mmsafety.settings import parse_count, parse_data, parse_share

    if LIBRARY not in config.stash:
        try:
            data = parse_data(_option(config, "data"), config.invocation_params.dir)
            share = parse_share("--subset", _option(config, "subset") or "1")
            samples = parse_count("--samples", _option(config, "samples") or "1", 1000)
        except SetupError as error:
            raise pytest.UsageError(str(error)) from None
        config.stash[LIBRARY] = Library(data, share, samples)
    return config.stash[LIBRARY]


def _progress(config: pytest.Config) -> Any:
    from pytest_mmsafety.progress import Progress

    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return None

    capture = config.pluginmanager.get_plugin("capturemanager")
    distributed = config.getoption("dist", "no") != "no"

    def write(line: str, *, again: bool) -> None:
        # Items wait in their setup, where pytest captures what is written to the terminal.
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            reporter.ensure_newline()
            if again:
                reporter.rewrite(line, erase=True)
            else:
                reporter.write_line(f"\n{line}" if distributed else line)  # letters without a path stand before
            reporter.flush()

    if reporter.isatty:
        return Progress(redraw=lambda line: write(line, again=True))
    return Progress(log=lambda line: write(line, again=False))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SuiteFile | None:
    if file_path.suffix not in (".yaml", ".yml") or not _is_suite(file_path, parent.config):
        return None
    from pytest_mmsafety.items import SuiteFile

    _library(parent.config).found.append(file_path)
    # pytest shortens node ids outside of the rootdir, even to nothing; ours must lead back to the file.
    try:
        nodeid = os.path.relpath(file_path, parent.config.rootpath).replace(os.sep, "/")
    except ValueError:  # another drive
        nodeid = file_path.as_posix()
    return SuiteFile.from_parent(parent, path=file_path, nodeid=nodeid)


def _is_suite(path: Path, config: pytest.Config) -> bool:
    """Named on the command line, or in a folder of suites that this run is about."""
    named = [_absolute(config.invocation_params.dir / arg.partition("::")[0]) for arg in config.args]
    if path in named:
        return True
    folders = [folder for folder in map(_absolute, _suite_folders(config)) if path.is_relative_to(folder)]
    with_model = bool(_option(config, "model"))
    if folders:
        return with_model or any(name.is_relative_to(folder) for name in named for folder in folders)
    # A folder that was named may hold any YAML.
    return with_model and config.args_source is pytest.Config.ArgsSource.ARGS and _looks_like_a_suite(path)


def _looks_like_a_suite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return re.search(rb"(?m)^suite\s*:", file.read(4096)) is not None
    except OSError:
        return False


def _absolute(path: Path) -> Path:
    """Without following links: a suite may be one."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve follows links


def pytest_report_header(config: pytest.Config) -> str | None:
    if not config.pluginmanager.has_plugin(_CONTROLLER):
        return None
    settings = config.stash[_SETTINGS]
    store = (
        settings.store.relative_to(config.rootpath)
        if settings.store and settings.store.is_relative_to(config.rootpath)
        else settings.store or "off"
    )
    part = f", {settings.subset:.0%} of each suite" if settings.subset < 1 else ""
    return f"mmsafety: model {settings.model}, batch size {settings.batch_size}, store {store}{part}"


def pytest_report_teststatus(report: Any) -> tuple[str, str, Any] | None:
    """Own letters: ``u`` not as expected, ``?`` unscored; gates by their status."""
    if report.when == "call" and report.passed and (letter := getattr(report, "mmsafety_letter", None)):
        colour = {"u": "yellow", "?": "cyan"}.get(letter[0], "green")
        return "passed", letter[0], (letter[1], {colour: True})
    status = getattr(report, "mmsafety_gate", "") if report.when == "call" and report.passed else ""
    if status in ("inconclusive", "reported"):
        return "passed", status[0], (status.upper(), {"yellow": True} if status == "inconclusive" else {})
    return None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if not config.pluginmanager.has_plugin(_CONTROLLER):
        return None
    from pytest_mmsafety.xdist import make_scheduler

    return make_scheduler(config, log, _library(config), config.stash[_SETTINGS])
