"""A run as the page shows it: everything is decided here, the templates only lay it out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pytest_mmsafety.judge_errors import JudgeErrors, known_errors
from pytest_mmsafety.metrics import Metric
from pytest_mmsafety.report.ablation import Ablation, ablations
from pytest_mmsafety.report.benchmarks import Benchmark, benchmarks
from pytest_mmsafety.report.breaks import Breaks, breaks
from pytest_mmsafety.report.cards import Card, choose_cards, make_card
from pytest_mmsafety.report.changes import Changes, changes
from pytest_mmsafety.report.facets import Facet, Facets
from pytest_mmsafety.report.gates import GateRow, Verdict, gate_rows, metrics_of, verdict
from pytest_mmsafety.report.grids import Grid, suite_grids
from pytest_mmsafety.report.judges import JudgeRow, judge_rows, judges_of_gates
from pytest_mmsafety.report.leaks import Leaks, leaks
from pytest_mmsafety.report.tables import SuiteTable, Tally, suite_tables, tallies
from pytest_mmsafety.report.thumbnails import Gallery, Source
from pytest_mmsafety.report.variants import changed_images
from pytest_mmsafety.run import Run


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """What a report may be given besides the run."""

    image_paths: Mapping[str, str]
    """SHA-256 of an image -> its file on this machine."""
    baseline: Run | None
    leaked: Collection[str] | None
    """Keys of cases that training data hold; ``None``: not looked for."""
    judge_errors: Mapping[str, JudgeErrors]
    """By judge, with its version."""


@dataclass(frozen=True, slots=True)
class Page:
    """What the templates are given."""

    run: Run
    """Without what an attack added: the numbers of the suites are about their own cases."""
    verdict: Verdict
    gates: list[GateRow]
    metrics: list[Metric]
    """Those that the gates name."""
    tally: Tally
    """Of the cases of the suites."""
    suite_tallies: Mapping[str, Tally]
    changes: Changes | None
    leaks: Leaks | None
    breaks: Breaks | None
    leaked: Collection[str]
    judges: list[JudgeRow]
    tables: list[SuiteTable]
    grids: Mapping[str, list[Grid]]
    """By suite."""
    ablations: Mapping[str, Ablation]
    """By suite."""
    benchmarks: list[Benchmark]
    cards: list[Card]
    records: int
    """Of which the cards are some."""
    own: str
    """Filter option of the cases of the suites; empty where there are no others."""
    facets: list[Facet]
    thumbnails: list[Source]
    """Embedded once each; cards name them by index."""

    @property
    def settings(self) -> dict[str, str]:
        """The options of the run that were given or that matter, as text."""
        settings = self.run.settings
        arguments = {
            **{f"model argument {name}": value for name, value in settings.model_args.items()},
            **({"judge": settings.judge} if settings.judge else {}),
            **{f"judge argument {name}": value for name, value in settings.judge_args.items()},
        }
        return {
            "model": settings.model,
            **arguments,
            "batch size": f"{settings.batch_size}",
            "samples": f"{settings.samples}",
            "subset": f"{100 * settings.subset:g}%",
            "early stop": "yes" if settings.early_stop else "no",
            "target calls": f"{settings.target_calls:,}",
        }

    @property
    def tokens(self) -> frozenset[str]:
        """Filter options that lead to at least one card."""
        return frozenset(option.token for facet in self.facets for option in facet.options)

    @property
    def corrected(self) -> bool:
        """Whether a gate's number is corrected for its judge's errors."""
        return any(measure.raw for row in self.gates for measure in row.measures)

    @property
    def judge_anchors(self) -> dict[str, str]:
        """Judge -> where the page says how far it can be trusted."""
        return {judge.name: f"judge-{place}" for place, judge in enumerate(self.judges)}


def build(run: Run, beside: ReportInputs) -> Page:
    """Make the whole page. Reads the images of the shown cases, and nothing else."""
    own = run.without_attacks()
    counted = tallies(own.records)
    chosen = choose_cards(run.records, run.gates)
    facets = Facets(run.gates, len(own.records) < len(run.records))
    gallery = Gallery(beside.image_paths, changed_images(chosen, run.records))
    turned = changes(own, beside.baseline.without_attacks(), gallery) if beside.baseline else None
    broken = breaks(run, gallery)
    cards = [make_card(record, facets, gallery, broken.keys if broken else ()) for record in chosen]
    return Page(
        run=own,
        verdict=verdict(run),
        gates=gate_rows(run.gates, judges_of_gates(run.records, [result.gate for result in run.gates])),
        metrics=metrics_of(run.gates),
        tally=counted.all,
        suite_tallies=counted.suites,
        changes=turned,
        leaks=None if beside.leaked is None else leaks(run, beside.leaked, beside.baseline, beside.judge_errors),
        breaks=broken,
        leaked=beside.leaked or frozenset(),
        judges=judge_rows(own, known_errors(beside.judge_errors)),
        tables=suite_tables(own, counted),
        grids=suite_grids(own),
        ablations=ablations(own),
        benchmarks=benchmarks(own),
        cards=cards,
        records=len(run.records),
        own=facets.own,
        facets=list(facets.lists()),
        thumbnails=gallery.sources,
    )
