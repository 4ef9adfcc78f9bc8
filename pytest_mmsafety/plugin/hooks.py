"""The pytest plugin: options, and what they switch on.

Nothing heavy is imported here: the plugin is loaded in every pytest run of its environment.
"""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_mmsafety.plugin.fixtures import judge, target
from pytest_mmsafety.plugin.options import (
    FLAGS,
    OPTIONS,
    check_attack,
    check_early_stop,
    check_store,
    option,
    refuse_blocked,
    refuse_empty,
    refuse_listing_by_default,
    refuse_setup_only,
    refuse_unknown_keys,
    settings_of,
)

if TYPE_CHECKING:
    from pytest_mmsafety.plugin.items import LinkedFolder, SuiteFile
    from pytest_mmsafety.plugin.settings import Settings
    from pytest_mmsafety.policies import Policy
    from pytest_mmsafety.run import Run

__all__ = ["judge", "target"]  # fixtures; pytest finds hooks by their names

_CONTROLLER = "mmsafety-controller"
_RUNNER = "mmsafety-runner"
_SAME_ERRORS = "mmsafety-same-errors"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mmsafety", "safety gates for multimodal checkpoints")
    for name, metavar, text in OPTIONS:
        dest = f"mmsafety_{name.replace('-', '_')}"
        group.addoption(f"--{name}", metavar=metavar, dest=dest, help=text)
        parser.addini(dest, f"default of --{name}")
    group.addoption(
        "--data", metavar="NAME=PATH", dest="mmsafety_data", action="append", help="folder of an official data set"
    )
    parser.addini("mmsafety_data", "default of --data, one NAME=PATH a line", type="linelist")
    for name, text in FLAGS:
        dest = f"mmsafety_{name.replace('-', '_')}"
        group.addoption(f"--{name}", dest=dest, action="store_true", default=None, help=text)
        parser.addini(dest, f"default of --{name}", type="bool", default=False)
    parser.addini("mmsafety_cases", "folders with suites (default: cases, else the shipped ones)", type="paths")


@pytest.hookimpl(trylast=True)  # the terminal reporter is there by then
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "mmsafety(**tags): the tags that all cases of a group share")
    refuse_empty(config)
    refuse_unknown_keys(config)
    if not option(config, "model"):
        _refuse_options_without_model(config)
        return
    from pytest_mmsafety.arguments import without_secrets
    from pytest_mmsafety.errors import MmsafetyError

    _refuse_forks(config)
    refuse_blocked(config, (_CONTROLLER, _RUNNER, _SAME_ERRORS))
    refuse_setup_only(config)
    refuse_listing_by_default(config)
    _choose_suites(config)
    try:
        _switch_on(config)
    except MmsafetyError as error:
        raise pytest.UsageError(without_secrets(str(error))) from None


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item) -> bool | None:
    """pytest-timeout: a group waits for a model that answers other groups too; --answer-timeout is its limit."""
    from pytest_mmsafety.plugin.items import GroupItem

    return True if isinstance(item, GroupItem) else None


def _refuse_forks(config: pytest.Config) -> None:
    if config.getoption("forked", False):  # noqa: FBT003
        raise pytest.UsageError(
            "--forked: a fork of this process has not the thread that asks the model; leave it out (-n isolates too)"
        )


def _refuse_options_without_model(config: pytest.Config) -> None:
    given = [name for name, _, _ in OPTIONS if config.getoption(f"mmsafety_{name.replace('-', '_')}") is not None]
    given += [name for name, _ in FLAGS if config.getoption(f"mmsafety_{name.replace('-', '_')}")]
    if given and not config.option.collectonly:
        raise pytest.UsageError(f"--{given[0]}: there is nothing to ask; give --model=CHECKPOINT")


def _choose_suites(config: pytest.Config) -> None:
    """``pytest --model=X`` alone, or with ``--pyargs pytest_mmsafety``, runs the suites and nothing else."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(folder) for folder in _suite_folders(config)]
    elif config.option.pyargs:
        from pytest_mmsafety.files import shipped

        config.args = [str(shipped("cases")) if arg == "pytest_mmsafety" else arg for arg in config.args]


def _suite_folders(config: pytest.Config) -> list[Path]:
    from pytest_mmsafety.files import shipped

    folders = config.getini("mmsafety_cases") or [config.rootpath / "cases"]
    existing = [folder for folder in folders if folder.is_dir()]
    return existing or [shipped("cases")]


def _switch_on(config: pytest.Config) -> None:
    """Check every option, then register what runs items here and what sees all results."""
    settings = settings_of(config)
    in_worker = hasattr(config, "workerinput")
    distributed = not in_worker and config.getoption("dist", "no") != "no"
    if not in_worker:
        _register_controller(config, settings, distributed=distributed)
    _register_runner(config, settings, idle=distributed)


def _register_runner(config: pytest.Config, settings: Settings, *, idle: bool) -> None:
    """Find target and judges; *idle* only checks that they are there, because workers run the items."""
    from pytest_mmsafety.judges.registry import make_judge
    from pytest_mmsafety.plugin.keys import OUTCOMES
    from pytest_mmsafety.plugin.runner import Runner
    from pytest_mmsafety.targets.registry import find_target

    fetch = not config.option.collectonly
    judges = [make_judge(settings.judge, settings.base, settings.judge_args, fetch=fetch)] if settings.judge else []
    target = find_target(settings.model, settings.model_args, settings.base, fetch=fetch)
    if idle:
        return
    workers = getattr(config, "workerinput", {}).get("workercount", 0)
    progress = None if workers else _progress(config)
    runner = config.stash[OUTCOMES] = Runner(settings, target, judges, workers=workers, progress=progress)
    config.pluginmanager.register(runner, _RUNNER)


def _register_controller(config: pytest.Config, settings: Settings, *, distributed: bool) -> None:
    from pytest_mmsafety.files import check_writable
    from pytest_mmsafety.plugin.collected import Collected
    from pytest_mmsafety.plugin.controller import Controller
    from pytest_mmsafety.plugin.same_errors import SameErrors

    policy = _policy(config, settings)
    check_attack(settings)
    if settings.early_stop:
        check_early_stop(settings, policy, distributed=distributed)
    baseline = _baseline(config, settings, policy)
    written = {
        "--save-run": settings.save_run,
        "--safety-report": settings.safety_report,
        "--safety-summary": settings.safety_summary,
    }
    for name, path in written.items():
        if path:
            check_writable(name, path)
    check_store(settings)
    progress = _progress(config) if distributed else None
    collected = Collected(settings, policy, _library(config), baseline)
    controller = Controller(settings, collected, distributed=distributed, progress=progress)
    config.pluginmanager.register(controller, _CONTROLLER)
    config.pluginmanager.register(SameErrors(), _SAME_ERRORS)


def _policy(config: pytest.Config, settings: Settings) -> Policy | None:
    """The thresholds that were asked for; ``release`` for a run of the suites as such; else none."""
    from pytest_mmsafety.files import shipped
    from pytest_mmsafety.policies import find_policy, read_policy

    paths_named = config.args_source is pytest.Config.ArgsSource.ARGS and not config.option.pyargs
    if settings.thresholds or not paths_named:
        folders = [config.rootpath / "thresholds", shipped("thresholds")]
        return read_policy(find_policy(settings.thresholds or "release", folders, settings.base))
    if settings.require_gates:
        raise pytest.UsageError("--require-gates: there are no gates; give --thresholds")
    return None


def _baseline(config: pytest.Config, settings: Settings, policy: Policy | None) -> Run | None:
    if settings.baseline:
        from pytest_mmsafety.baselines import load_baseline

        return load_baseline(settings.baseline, settings.base, config.rootpath)
    if settings.thresholds and policy and any(gate.max_regression is not None for gate in policy.gates):
        from pytest_mmsafety.evaluation.checks import missing_baseline

        raise pytest.UsageError(f"--baseline: {missing_baseline(policy.gates)}")
    return None


def _library(config: pytest.Config) -> Any:
    from pytest_mmsafety.errors import SetupError
    from pytest_mmsafety.plugin.keys import LIBRARY
    from pytest_mmsafety.plugin.library import Library

    if LIBRARY not in config.stash:
        try:
            settings = settings_of(config)
        except SetupError as error:
            raise pytest.UsageError(str(error)) from None
        config.stash[LIBRARY] = Library(settings.data, settings.subset, settings.samples, settings.attack)
    return config.stash[LIBRARY]


def _progress(config: pytest.Config) -> Any:
    from pytest_mmsafety.engine.progress import Progress

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
    from pytest_mmsafety.plugin.items import SuiteFile

    if _is_named(file_path, parent.config):  # pytest also asks about the neighbours of a file that was named
        _library(parent.config).found.append(file_path)
    # pytest shortens node ids outside of the rootdir, even to nothing; ours must lead back to the file.
    try:
        nodeid = os.path.relpath(file_path, parent.config.rootpath).replace(os.sep, "/")
    except ValueError:  # another drive
        nodeid = file_path.as_posix()
    return SuiteFile.from_parent(parent, path=file_path, nodeid=nodeid)


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> LinkedFolder | None:
    """A link inside of a folder of suites that leads out of it is an error: it could lead over the whole disk."""
    if not path.is_symlink() or not option(parent.config, "model"):
        return None
    target = path.resolve()
    above = [folder for folder in map(_absolute, _suite_folders(parent.config)) if folder in path.parents]
    circle = path.parent.resolve().is_relative_to(target)
    if not circle and all(target.is_relative_to(folder.resolve()) for folder in above):
        return None
    from pytest_mmsafety.plugin.items import LinkedFolder

    return LinkedFolder.from_parent(parent, path=path)


def _named(config: pytest.Config) -> list[Path]:
    return [_absolute(config.invocation_params.dir / arg.partition("::")[0]) for arg in config.args]


def _is_named(path: Path, config: pytest.Config) -> bool:
    """Whether it was named on the command line, or a folder above it."""
    return any(path.is_relative_to(name) for name in _named(config))


def _is_suite(path: Path, config: pytest.Config) -> bool:
    """Named on the command line, or in a folder of suites that this run is about."""
    named = _named(config)
    if path in named:
        return True
    folders = [folder for folder in map(_absolute, _suite_folders(config)) if path.is_relative_to(folder)]
    with_model = bool(option(config, "model"))
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
    settings = settings_of(config)
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
    from pytest_mmsafety.plugin.xdist import make_scheduler

    return make_scheduler(config, log, _library(config), settings_of(config))
