"""UAR and WAR as `evaluate` metrics: instantiate them directly, `evaluate.load` would ask the Hub for a script.

>>> UAR().compute(references=[0, 0, 0, 1], predictions=[0, 0, 0, 0])
{'uar': 0.5}
"""

from __future__ import annotations

import datasets
import evaluate

from .metrics import unweighted_average_recall, weighted_average_recall

_IDS = datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")})


class UAR(evaluate.Metric):
    """Unweighted average recall over the classes that occur in the references."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=self.__doc__, citation="Schuller et al. (2009)", features=_IDS)

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"uar": unweighted_average_recall(references, predictions)}


class WAR(evaluate.Metric):
    """Weighted average recall: the share of utterances that are right, also called accuracy."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=self.__doc__, citation="Schuller et al. (2009)", features=_IDS)

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"war": weighted_average_recall(references, predictions)}
