"""By what the shown cases can be filtered.

Every option has a short token (``t17``), and every card carries the tokens of its own: no name from outside
enters a script or a selector.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_mmsafety.cases import STANDARD_TAGS
from pytest_mmsafety.gates import Gate, GateResult
from pytest_mmsafety.metrics import METRICS
from pytest_mmsafety.report.states import STATES
from pytest_mmsafety.run import Record

_OWN = ("made by", "the suite")
_ATTACKED = ("made by", "the attack")
MAX_OPTIONS = 200
"""A tag with more values than that (an id, say) gets no list; the text search finds it."""


@dataclass(frozen=True, slots=True)
class Option:
    """One value to filter by."""

    token: str
    label: str
    count: int
    """Cards that carry the token."""


@dataclass(frozen=True, slots=True)
class Facet:
    """One drop-down list of the filter."""

    label: str
    options: tuple[Option, ...]


@dataclass(slots=True)
class Facets:
    """Hands out the tokens, and remembers which were used."""

    gates: Sequence[GateResult]
    attacked: bool = False
    """Whether an attack made some of the cards: they can then be told from those of the suites."""
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    """(name of the list, value) -> token. A tag's list is named ``tag:`` and the tag."""
    _used: Counter[str] = field(default_factory=Counter)

    def of(self, record: Record, state: str) -> str:
        """Join the tokens of *record*, with blanks between them."""
        tokens = [f"s{STATES.index(state)}", self._token("suite", record.suite)]
        tokens += [self._token(f"tag:{tag}", value) for tag, value in ordered(record.tags)]
        tokens += [f"g{index}" for index, result in enumerate(self.gates) if applies_to(result.gate, record)]
        if self.attacked:
            tokens.append(self._token(*(_ATTACKED if record.attacked_by else _OWN)))
        self._used.update(tokens)
        return " ".join(tokens)

    def _token(self, name: str, value: str) -> str:
        return self._tokens.setdefault((name, value), f"t{len(self._tokens)}")

    @property
    def own(self) -> str:
        """Token of the cases of the suites; empty where there are no others."""
        return self._tokens.get(_OWN, "")

    def lists(self) -> Iterator[Facet]:
        """State and gate, then suite and tags where the cards differ."""
        yield from self._facet("State", ((f"s{index}", state) for index, state in enumerate(STATES)), least=1)
        gates = ((f"g{index}", result.gate.name) for index, result in enumerate(self.gates))
        yield from self._facet("Gate", gates, least=1)
        for name in sorted({name for name, _ in self._tokens}, key=_list_order):
            values = sorted((value, token) for (of, value), token in self._tokens.items() if of == name)
            label = name.removeprefix("tag:")
            yield from self._facet(label[:1].upper() + label[1:], ((token, value) for value, token in values), least=2)

    def _facet(self, label: str, options: Iterable[tuple[str, str]], *, least: int) -> Iterator[Facet]:
        used = tuple(Option(token, text, self._used[token]) for token, text in options if self._used[token])
        if least <= len(used) <= MAX_OPTIONS:
            yield Facet(label, used)


def applies_to(gate: Gate, record: Record) -> bool:
    """Whether the record counts for the gate; a run file of another version may name an unknown metric."""
    return gate.metric in METRICS and gate.applies_to(record.suite, record.tags)


def ordered(tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Put standard tags in their order, then the suite's own by name."""
    names = [tag for tag in STANDARD_TAGS if tag in tags] + sorted(tags.keys() - set(STANDARD_TAGS))
    return tuple((tag, tags[tag]) for tag in names)


def _list_order(name: str) -> tuple[int, str]:
    standard = ["suite", *(f"tag:{tag}" for tag in STANDARD_TAGS)]
    return (standard.index(name) if name in standard else len(standard), name)
