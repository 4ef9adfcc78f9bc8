"""A run as the page shows it: everything is decided here, the templates only lay it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_mmsafety.report.cards import Card, choose, make_card
from pytest_mmsafety.report.facets import Facet, Facets
from pytest_mmsafety.report.gates import GateRow, Verdict, gate_rows, metrics_of, verdict
from pytest_mmsafety.report.tables import SuiteTable, Tally, suite_tables, tallies
from pytest_mmsafety.report.thumbnails import Gallery, Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_mmsafety.metrics import Metric
    from pytest_mmsafety.run import Run


@dataclass(frozen=True, slots=True)
class Page:
    """What the templates are given."""

    run: Run
    verdict: Verdict
    gates: list[GateRow]
    metrics: list[Metric]
    """Those that the gates name."""
    tally: Tally
    """Of all records."""
    suite_tallies: Mapping[str, Tally]
    tables: list[SuiteTable]
    cards: list[Card]
    facets: list[Facet]
    thumbnails: list[Source]
    """Embedded once each; cards name them by index."""

    @property
    def tokens(self) -> frozenset[str]:
        """Filter options that lead to at least one card."""
        return frozenset(option.token for facet in self.facets for option in facet.options)


def build(run: Run, image_paths: Mapping[str, str]) -> Page:
    """Make the whole page. Reads the images of the shown cases, and nothing else."""
    counted = tallies(run.records)
    facets, gallery = Facets(run.gates), Gallery(image_paths)
    cards = [make_card(record, facets, gallery) for record in choose(run.records)]
    return Page(
        run=run,
        verdict=verdict(run.gates),
        gates=gate_rows(run.gates),
        metrics=metrics_of(run.gates),
        tally=counted.all,
        suite_tallies=counted.suites,
        tables=suite_tables(run, counted),
        cards=cards,
        facets=list(facets.lists()),
        thumbnails=gallery.sources,
    )
