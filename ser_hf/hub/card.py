"""The model card: a template and a report become the `README.md` of a saved model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..evaluation.metrics import METRICS
from ..files import CARD, CONFIG, REPORT_MARKDOWN, write_whole
from ..report.report import EvaluationReport

if TYPE_CHECKING:
    from huggingface_hub import EvalResult


def write_card(folder: Path, report: EvaluationReport, *, base_model: str, languages: Iterable[str] = ()) -> None:
    """Write `README.md` of a saved model from the template and its report.

    Args:
        folder: the run; its configuration and `report.md` are written before.
        base_model: name of the model that was trained further, as in the report.
        languages: codes of the languages of the test utterances.
    """
    from huggingface_hub import ModelCard, ModelCardData

    facts = report.to_dict()
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    name = folder.resolve().name
    data = ModelCardData(
        model_name=name,
        library_name="transformers",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "ser_hf"],
        language=sorted(set(languages)) or None,
        metrics=[metric.hub_name or own_name for own_name, metric in METRICS.items()],
        eval_results=eval_results(facts),
    )
    card = ModelCard.from_template(
        data,
        template_str=_template(),
        model_name=name,
        model_id=name,
        classes=facts["classes"],
        report=facts,
        results=(folder / REPORT_MARKDOWN).read_text(encoding="utf-8").strip(),
        base_model=base_model,
        needs_code="auto_map" in config,
        abstention=(abstention := config.get("abstention")),
        risks=[risk for risk, threshold in abstention["thresholds"].items() if threshold is not None]
        if abstention
        else [],
    )
    write_whole(folder / CARD, str(card))


def eval_results(facts: Mapping) -> list[EvalResult]:
    """Return the report's rates as `EvalResult`s of the Hub, with protocol, n and interval in their names."""
    from huggingface_hub import EvalResult

    results = []
    for metric, rate in facts["rates"].items():
        interval = rate["interval"]
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
                metric_name=f"{METRICS[metric].title}, n = {facts['n']}, {span}",
                metric_value=round(rate["value"], 4),
            )
        )
    return results


def _template() -> str:
    """Return the template of the card, which is inside the package if installed, and beside it in a checkout."""
    here = Path(__file__).parents[1]
    folder = here / "hub_cards" if (here / "hub_cards").is_dir() else here.parent / "hub_cards"
    return (folder / "model_card.md").read_text(encoding="utf-8")
