"""The options and their ini twins, and the settings made of them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_mmsafety.plugin.settings import Settings
    from pytest_mmsafety.policies import Policy

OPTIONS: tuple[tuple[str, str, str], ...] = (
    ("model", "CHECKPOINT", "target: checkpoint folder, hub id, package.module:attribute, or 'embedded'"),
    ("model-args", "K=V,...", "arguments of the target, for example max_new_tokens=64,dtype=bfloat16"),
    ("judge", "JUDGE", "judge asked before the built-in ones: its name, or package.module:attribute of your own"),
    ("judge-args", "K=V,...", "arguments of that judge, for example llm=BASE,adapter=FOLDER,hallucination=FILE"),
    (
        "judge-phase",
        "WHEN",
        "with: judge while the target answers (default); after: judge when it has finished and freed its device",
    ),
    ("answer-timeout", "SECONDS", "give the target up when a batch takes longer, loading it included (default: never)"),
    ("judge-timeout", "SECONDS", "give a judge up when a batch of answers takes it longer (default: never)"),
    ("thresholds", "FILE", "thresholds file, or the name of a shipped policy (release, nightly, report-only, ...)"),
    ("batch-size", "N", "cases asked at once (default 8)"),
    ("baseline", "RUN", "saved run that gates with max_regression compare with, or the name of a promoted one"),
    ("baseline-allow", "KIND,...", "allow the comparison although these differ: decoding,judge,cases"),
    (
        "judge-errors",
        "FILE,...",
        "measured errors of judges (mmsafety judge evaluate): gated rates are corrected for them",
    ),
    ("attack", "CALLS", "search perturbed variants that break a case: CALLS of the target a group (docs/attacks.md)"),
    (
        "attack-args",
        "K=V,...",
        "mode=search|universal|sweep, per_case=CALLS, confirm=K/M, techniques=A+B, strengths=0.5+1, seconds=S",
    ),
    ("samples", "K", "ask every case K times, for a target that samples (default 1)"),
    ("subset", "SHARE", "fixed fraction of every suite, for example 10%%; gates are evaluated on that fraction"),
    ("store", "FILE", "SQLite file that keeps every answer (default .mmsafety/store.sqlite3; 'off': none)"),
    ("save-run", "FILE", "write the run as JSON"),
    ("safety-report", "FILE", "write the HTML report"),
    ("safety-summary", "FILE", "write a Markdown summary, for the page of a CI job"),
)

FLAGS: tuple[tuple[str, str], ...] = (
    ("require-gates", "a gate that was not evaluated fails the run"),
    ("early-stop", "stop asking once every gate that a case counts for is decided (sequential test)"),
    ("fresh", "ask for every answer anew, also those in the store; again after a stop, it goes on"),
)

_SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
_DEFAULT_STORE = Path(".mmsafety", "store.sqlite3")


def option(config: pytest.Config, name: str) -> Any:
    """The option, else its ini twin."""
    dest = f"mmsafety_{name.replace('-', '_')}"
    given = config.getoption(dest)
    return config.getini(dest) if given is None else given


def refuse_empty(config: pytest.Config) -> None:
    """Raise ``UsageError`` for an option that was given without a value: in CI, a variable that is not set."""
    for name, metavar, _ in OPTIONS:
        given = config.getoption(f"mmsafety_{name.replace('-', '_')}")
        if isinstance(given, str) and not given.strip():
            raise pytest.UsageError(f"--{name}: it is empty; expected {metavar} (is a variable not set?)")
    for key, (where, value) in _our_keys(config).items():
        if not value.strip():
            raise pytest.UsageError(f"{where}: {key}: it is empty; expected a value, or no such key")


def _our_keys(config: pytest.Config) -> dict[str, tuple[str, str]]:
    """Keys of ours in the ini file and in ``-o``: where each stands, and its value as text."""
    # pytest has no public list of the keys that were given.
    given = {key: str(getattr(found, "value", found)) for key, found in vars(config).get("_inicfg", {}).items()}
    ours = sorted(key for key in given if key.startswith("mmsafety"))
    by_option = {pair.partition("=")[0] for pair in config.option.override_ini or ()}
    file = config.inipath.name if config.inipath else "-o"
    return {key: ("-o" if key in by_option else file, given[key]) for key in ours}


def refuse_unknown_keys(config: pytest.Config) -> None:
    """Raise ``UsageError`` for a key of ours in the ini file that does not exist; pytest itself only warns."""
    names = [name for name, *_ in (*OPTIONS, *FLAGS)] + ["data", "cases"]
    known = {f"mmsafety_{name.replace('-', '_')}" for name in names}
    for key, (where, _) in _our_keys(config).items():
        if key in known:
            continue
        try:
            config.getini(key)  # another plugin may have a key of that name
        except ValueError:
            from pytest_mmsafety.errors import nearest

            raise pytest.UsageError(f"{where}: {key}: unknown key{nearest(key, known)}") from None


def refuse_blocked(config: pytest.Config, names: Iterable[str]) -> None:
    """Raise ``UsageError`` if one of our plugins, *names*, is blocked."""
    for name in names:
        if config.pluginmanager.is_blocked(name):
            raise pytest.UsageError(f"-p no:{name}: without it nothing is gated; leave it out, or leave out --model")


def refuse_setup_only(config: pytest.Config) -> None:
    """Raise ``UsageError`` for options of pytest that have every test set up and none run."""
    for name in ("setup-plan", "setup-only"):
        if config.getoption(name.replace("-", ""), False):  # noqa: FBT003
            raise pytest.UsageError(
                f"--{name}: no answer would be looked at; not with --model (--collect-only shows what there is)"
            )


def refuse_listing_by_default(config: pytest.Config) -> None:
    """Raise ``UsageError`` for ``--collect-only`` that is not in the command itself: the model would never be asked."""
    said = {"--collect-only", "--collectonly", "--co"}.intersection(map(str, config.invocation_params.args))
    if config.option.collectonly and not said:
        raise pytest.UsageError(
            "--collect-only: it comes from PYTEST_ADDOPTS or addopts, so the model would not be asked; "
            "expected it in the command itself, or not at all"
        )


def check_early_stop(settings: Settings, policy: Policy | None, *, distributed: bool) -> None:
    """Refuse what it does not go together with."""
    if policy is None:
        raise pytest.UsageError("--early-stop: there are no gates to decide; give --thresholds")
    if distributed:
        raise pytest.UsageError("--early-stop: works in one process, which sees every answer; leave out -n")
    if settings.judge_phase == "after":
        raise pytest.UsageError(
            "--early-stop: judges have to judge while the target works; not with --judge-phase=after"
        )
    if settings.judge_errors:
        raise pytest.UsageError(
            "--early-stop: gates that are corrected for a judge's errors need all cases; not with --judge-errors"
        )


def check_attack(settings: Settings) -> None:
    """Refuse what ``--attack`` does not go together with."""
    if settings.attack is None:
        return
    if settings.judge_phase == "after":
        raise pytest.UsageError("--attack: a search needs every verdict at once; not with --judge-phase=after")
    if settings.early_stop:
        raise pytest.UsageError("--attack: it attacks every case; not with --early-stop")


def check_store(settings: Settings) -> None:
    from pytest_mmsafety.store import Store

    Store(settings.store).close()
    if settings.store == settings.root / _DEFAULT_STORE:
        with suppress(OSError):
            (settings.store.parent / ".gitignore").write_text("*\n")


def settings_of(config: pytest.Config) -> Settings:
    """All options, parsed once a session. Raises :class:`SetupError`."""
    if _SETTINGS not in config.stash:
        config.stash[_SETTINGS] = _parsed(config)
    return config.stash[_SETTINGS]


def _parsed(config: pytest.Config) -> Settings:
    from pytest_mmsafety.arguments import parse_count, parse_data, parse_pairs, parse_phase, parse_seconds, parse_share
    from pytest_mmsafety.attacks.settings import parse_attack
    from pytest_mmsafety.baselines import parse_allowed
    from pytest_mmsafety.judge_errors import parse_judge_errors
    from pytest_mmsafety.plugin.settings import Settings

    root = config.rootpath
    base = config.invocation_params.dir
    store = option(config, "store")
    save_run, safety_report, safety_summary = (
        option(config, name) for name in ("save-run", "safety-report", "safety-summary")
    )
    return Settings(
        model=option(config, "model") or "",
        model_args=parse_pairs("--model-args", option(config, "model-args") or ""),
        judge=_judge_option(config),
        judge_args=parse_pairs("--judge-args", option(config, "judge-args") or ""),
        judge_phase=parse_phase(option(config, "judge-phase") or "with"),
        thresholds=option(config, "thresholds") or "",
        data=parse_data(option(config, "data"), base),
        answer_timeout=parse_seconds("--answer-timeout", option(config, "answer-timeout") or ""),
        judge_timeout=parse_seconds("--judge-timeout", option(config, "judge-timeout") or ""),
        batch_size=parse_count("--batch-size", option(config, "batch-size") or "8", 100_000),
        store=None if store == "off" else base / store if store else root / _DEFAULT_STORE,
        save_run=base / save_run if save_run else None,
        safety_report=base / safety_report if safety_report else None,
        safety_summary=base / safety_summary if safety_summary else None,
        require_gates=bool(option(config, "require-gates")),
        baseline=option(config, "baseline") or "",
        baseline_allow=parse_allowed(option(config, "baseline-allow") or ""),
        judge_errors=parse_judge_errors(option(config, "judge-errors") or "", base),
        attack=parse_attack(
            option(config, "attack") or "", parse_pairs("--attack-args", option(config, "attack-args") or "")
        ),
        samples=parse_count("--samples", option(config, "samples") or "1", 1000),
        subset=parse_share("--subset", option(config, "subset") or "1"),
        early_stop=bool(option(config, "early-stop")),
        fresh=bool(option(config, "fresh")),
        base=base,
        root=root,
    )


def _judge_option(config: pytest.Config) -> str:
    judge = str(option(config, "judge") or "")
    if not judge and option(config, "judge-args"):
        raise pytest.UsageError("--judge-args: there is no judge to give them to; give --judge=NAME")
    return judge
