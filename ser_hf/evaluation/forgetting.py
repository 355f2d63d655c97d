"""What a curriculum has cost: UAR of every corpus after every stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .report import EvaluationReport
from .tables import PredictionTable


@dataclass(frozen=True)
class ForgettingTable:
    """UAR of each corpus on its unseen test speakers after each stage.

    Attributes:
        reports: report of each corpus after each stage, `{stage: {corpus: report}}`, stages in order.
        learnt_in: the stage in which a corpus was new.
    """

    reports: Mapping[str, Mapping[str, EvaluationReport]]
    learnt_in: Mapping[str, str]

    @classmethod
    def from_tables(cls, after_stage: Mapping[str, PredictionTable], learnt_in: Mapping[str, str]) -> ForgettingTable:
        """From the prediction tables of one test set, in which all corpora stand together, after each stage."""
        reports = {
            stage: {
                corpus: EvaluationReport.from_table(PredictionTable(rows.reset_index(drop=True), table.metadata))
                for corpus, rows in table.rows.groupby("corpus")
            }
            for stage, table in after_stage.items()
        }
        return cls(reports, learnt_in)

    def forgetting(self, corpus: str) -> float:
        """UAR lost at the end, against the best since the corpus was learnt; 0 if it is best at the end."""
        stages = list(self.reports)
        since = stages[stages.index(self.learnt_in[corpus]) :]
        uars = [self.reports[stage][corpus].uar for stage in since]
        return max(uars) - uars[-1]

    def to_dict(self) -> dict:
        return {
            corpus: {
                "learnt_in": self.learnt_in[corpus],
                "forgetting": self.forgetting(corpus),
                "after": [
                    {"stage": stage, "n": by_corpus[corpus].n, "uar": by_corpus[corpus].uar,
                     "uar_interval": by_corpus[corpus].uar_interval}
                    for stage, by_corpus in self.reports.items()
                ],
            }
            for corpus in self.learnt_in
        }  # fmt: skip

    def to_markdown(self) -> str:
        """One row per corpus, one column per stage; the stage in which a corpus was new is set in bold."""
        lines = [
            f"| UAR on unseen speakers | n | {' | '.join(f'after {stage}' for stage in self.reports)} | forgetting |",
            f"|---|---|{'---|' * len(self.reports)}---|",
        ]
        for corpus, learnt in self.learnt_in.items():
            cells = [
                f"**{cell}**" if stage == learnt else cell
                for stage, by_corpus in self.reports.items()
                for cell in [by_corpus[corpus].rate("uar")]
            ]
            n = next(iter(self.reports.values()))[corpus].n
            lines.append(f"| {corpus} | {n} | {' | '.join(cells)} | {self.forgetting(corpus):.3f} |")
        return "\n".join(lines)

    def write(self, folder: str | Path) -> None:
        """`forgetting.json` and `forgetting.md` in a folder."""
        Path(folder, "forgetting.json").write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
        Path(folder, "forgetting.md").write_text(self.to_markdown() + "\n", encoding="utf-8")
