"""A saved run is a working Hub folder: weights, configuration, extractor, code, card and report, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..files import whole_files
from ..report.cost import write_cost
from ..report.report import EvaluationReport
from .card import write_card

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel

    from ..report.runs import RunTables


def save_run(
    folder: str | Path,
    model: PreTrainedModel,
    extractor: FeatureExtractionMixin,
    tables: RunTables,
    *,
    base_model: str,
) -> EvaluationReport:
    """Write model, extractor, prediction tables, report, cost and card; return the report.

    The folder works in `pipeline("audio-classification", model=folder)`; families of ours bring their code along and
    need `trust_remote_code=True` where ser_hf is not installed.
    """
    folder = Path(folder)
    with whole_files(folder) as unfinished:
        model.save_pretrained(unfinished)
        extractor.save_pretrained(unfinished)
    report = tables.report()
    report.write(folder)
    write_cost(folder)
    write_card(folder, report, base_model=base_model, languages=tables.test.rows["language"].dropna().unique())
    tables.write(folder)  # last: a folder that holds its predictions is finished, whenever the run is killed
    return report
