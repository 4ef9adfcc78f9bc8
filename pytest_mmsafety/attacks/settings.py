"""What ``--attack`` and ``--attack-args`` ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from pytest_mmsafety.arguments import parse_count, parse_seconds
from pytest_mmsafety.errors import SetupError, nearest
from pytest_mmsafety.perturbations import PERTURBATIONS

Mode = Literal["search", "universal", "sweep"]
SEARCH: Final = "search"
UNIVERSAL: Final = "universal"
SWEEP: Final = "sweep"

MOST_CALLS = 1_000_000
_ARGUMENTS = ("mode", "per_case", "confirm", "techniques", "strengths", "seconds")


@dataclass(frozen=True, slots=True)
class AttackSettings:
    """How cases are attacked. A call is one request that the target answers, whether now or, from the store, before."""

    calls: int
    """Calls a group, those for its unchanged cases included; they are divided equally among its cases."""
    mode: Mode = SEARCH
    per_case: int | None = None
    """Calls a case at most; ``None``: its part of the group's."""
    confirm: tuple[int, int] = (2, 2)
    """A flip counts if it is seen again in k of m further answers."""
    techniques: tuple[str, ...] = tuple(PERTURBATIONS)
    """Names of the perturbations that are tried."""
    strengths: tuple[float, ...] = (0.5, 1.0)
    """Of a sweep."""
    seconds: float | None = None
    """After which the search of a group ends with what it has; ``None``: never."""

    @property
    def told(self) -> dict[str, str]:
        """What of it is not as by default, as ``--attack-args`` would say it."""
        plain = AttackSettings(self.calls)
        texts = {
            "mode": self.mode,
            "per_case": str(self.per_case),
            "confirm": "/".join(map(str, self.confirm)),
            "techniques": "+".join(self.techniques),
            "strengths": "+".join(f"{strength:g}" for strength in self.strengths),
            "seconds": str(self.seconds),
        }
        return {name: text for name, text in texts.items() if getattr(self, name) != getattr(plain, name)}

    def calls_of_case(self, cases: int) -> int:
        """Calls for each of so many cases of a group."""
        share = self.calls // cases
        return share if self.per_case is None else min(share, self.per_case)


def parse_attack(calls: str, arguments: Mapping[str, str]) -> AttackSettings | None:
    """``--attack`` and ``--attack-args`` as settings; ``None`` without. Raises :class:`SetupError` in one line."""
    if not calls:
        if arguments:
            raise SetupError("--attack-args: nothing is attacked; give --attack=CALLS")
        return None
    for name in arguments:
        if name not in _ARGUMENTS:
            known = ", ".join(_ARGUMENTS)
            raise SetupError(
                f"--attack-args: {name!r} is no argument of it; expected {known}{nearest(name, _ARGUMENTS)}"
            )
    given = dict(arguments)
    settings = AttackSettings(parse_count("--attack", calls, MOST_CALLS))
    per_case = given.get("per_case")
    return AttackSettings(
        calls=settings.calls,
        mode=_mode(given.get("mode", settings.mode)),
        per_case=None if per_case is None else parse_count("--attack-args: per_case", per_case, MOST_CALLS),
        confirm=_confirm(given["confirm"]) if "confirm" in given else settings.confirm,
        techniques=_techniques(given["techniques"].split("+")) if "techniques" in given else settings.techniques,
        strengths=_strengths(given["strengths"].split("+")) if "strengths" in given else settings.strengths,
        seconds=parse_seconds("--attack-args: seconds", given.get("seconds", "")),
    )


def _mode(text: str) -> Mode:
    for mode in get_args(Mode):
        if text == mode:
            return mode  # type: ignore[no-any-return]
    known = get_args(Mode)
    raise SetupError(f"--attack-args: mode: {text!r}; expected {', '.join(known)}{nearest(text, known)}")


def _confirm(text: str) -> tuple[int, int]:
    """``2/3``: seen again in 2 of 3 further answers."""
    seen, slash, of = text.partition("/")
    if not slash or not seen.isdecimal() or not of.isdecimal() or not 0 <= int(seen) <= int(of) <= 100:
        raise SetupError(f"--attack-args: confirm: {text!r}; expected K/M, for example 2/3, with K at most M")
    return int(seen), int(of)


def _techniques(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in PERTURBATIONS:
            known = ", ".join(PERTURBATIONS)
            raise SetupError(
                f"--attack-args: techniques: {name!r} is no perturbation{nearest(name, PERTURBATIONS)}; expected names "
                f"joined by '+', of {known}"
            )
    return tuple(dict.fromkeys(names))


def _strengths(texts: Sequence[str]) -> tuple[float, ...]:
    found = []
    for text in texts:
        try:
            strength = float(text)
        except ValueError:
            strength = 0
        if not 0 < strength <= 1:
            raise SetupError(f"--attack-args: strengths: {text!r}; expected numbers above 0, at most 1, joined by '+'")
        found.append(strength)
    return tuple(dict.fromkeys(found))
