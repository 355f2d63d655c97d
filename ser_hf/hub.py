"""A saved run is a working Hub folder: weights, configuration, extractor, code, card and report, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .evaluation.report import EvaluationReport

if TYPE_CHECKING:
    from huggingface_hub import EvalResult
    from transformers import FeatureExtractionMixin, PreTrainedModel

    from .evaluation.tables import PredictionTable

METRIC_NAMES = {"uar": "UAR (unweighted average recall)", "war": "WAR (accuracy)", "macro_f1": "Macro F1"}


def save_run(
    folder: str | Path,
    model: PreTrainedModel,
    extractor: FeatureExtractionMixin,
    table: PredictionTable,
    *,
    base_model: str,
) -> EvaluationReport:
    """Writes model, extractor, `predictions.parquet`, report and card; returns the report.

    The folder works in `pipeline("audio-classification", model=folder)`; families of ours bring their code along and
    need `trust_remote_code=True` where ser_hf is not installed.
    """
    folder = Path(folder)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    table.write(folder / "predictions.parquet")
    report = EvaluationReport.from_table(table)
    report.write(folder)
    write_card(folder, report, base_model=base_model, languages=table.rows["language"].dropna().unique())
    return report


def write_card(folder: Path, report: EvaluationReport, *, base_model: str, languages: Iterable[str] = ()) -> None:
    """Renders `README.md` of a saved model from the template and its report."""
    from huggingface_hub import ModelCard, ModelCardData

    facts = report.to_dict()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name = folder.resolve().name
    data = ModelCardData(
        model_name=name,
        library_name="transformers",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "ser_hf"],
        language=sorted(set(languages)) or None,
        metrics=["recall", "accuracy", "f1"],
        eval_results=eval_results(facts),
    )
    card = ModelCard.from_template(
        data,
        template_str=_template("model_card.md"),
        model_name=name,
        model_id=name,
        classes=facts["classes"],
        report=facts,
        results=(folder / "report.md").read_text(encoding="utf-8").strip(),
        base_model=base_model,
        needs_code="auto_map" in config,
    )
    card.save(folder / "README.md")


def eval_results(facts: Mapping) -> list[EvalResult]:
    """The report's rates as the Hub's `EvalResult`s, with protocol, n and interval in their names."""
    from huggingface_hub import EvalResult

    results = []
    for metric, title in METRIC_NAMES.items():
        interval = facts[f"{metric}_interval"]
        span = "no interval" if interval is None else f"95 % interval {interval[0]:.3f} to {interval[1]:.3f}"
        results.append(
            EvalResult(
                task_type="audio-classification",
                task_name="Speech emotion recognition",
                dataset_type=", ".join(facts["corpora"]),
                dataset_name=", ".join(facts["corpora"]),
                dataset_config=facts["protocol"],
                dataset_split="test",
                metric_type=metric,
                metric_name=f"{title}, n = {facts['n']}, {span}",
                metric_value=round(facts[metric], 4),
            )
        )
    return results


def _template(name: str) -> str:
    """A template: inside the package when installed, beside it in a checkout."""
    here = Path(__file__).parent
    folder = here / "hub_cards" if (here / "hub_cards").is_dir() else here.parent / "hub_cards"
    return (folder / name).read_text(encoding="utf-8")
