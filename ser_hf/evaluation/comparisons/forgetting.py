"""The forgetting table of a curriculum: UAR on every corpus after every stage, and the gains and losses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ...files import FORGETTING, FORGETTING_MARKDOWN, TEST, fold_folders, read_json, write_whole
from ..intervals import Interval, mean_interval
from ..metrics import uar_of
from ..tables import PredictionTable
from ..words import markdown_table, shown
from .compare import weighted_confusions

METHOD = (
    "paired over the same test speakers: delete-one-speaker jackknife, Student-t; for means over corpora their "
    "variances are added"
)


@dataclass(frozen=True)
class Difference:
    """A difference of two UARs on the same utterances, or a mean of such, with its 95 % interval over speakers."""

    value: float
    interval: Interval

    def to_dict(self) -> dict:
        return {"value": self.value, "interval": None if self.interval is None else list(self.interval)}


@dataclass(frozen=True)
class ForgettingTable:
    """Predictions for the unseen test speakers of all corpora after each stage, and measures computed from them.

    Two figures measure what is lost on a corpus. `transfer` is its UAR at the end minus that right after it was learnt.
    It is not biased: without forgetting it is 0 on average. `forgetting` is the best UAR since it was learnt minus that
    at the end. It is never negative, and noise alone makes it positive, more so with more stages.

    Attributes:
        after_stage: the prediction table after each stage, {stage: table}, stages in order, corpora in one table.
        learnt_in: the stage in which a corpus was new, {corpus: stage}.
    """

    after_stage: Mapping[str, PredictionTable]
    learnt_in: Mapping[str, str]

    @classmethod
    def read(cls, run: str | Path) -> ForgettingTable:
        """Read the table of a run folder of `hubert_curriculum.py`; several folds are pooled.

        Raises:
            FileNotFoundError: if the folder has no table, or lacks the predictions after a stage.
            TableError: as `PredictionTable.read` and `pool`.
        """
        run = Path(run)
        if folds := fold_folders(run, FORGETTING):
            return cls.pool([cls.read(fold) for fold in folds])
        if not (run / FORGETTING).is_file():
            raise FileNotFoundError(f"{run} has no {FORGETTING}: pass the folder of a finished curriculum")
        content = read_json(run / FORGETTING, remedy="run the curriculum again")
        files = {stage: stage_folder(run, number, stage) for number, stage in enumerate(content["stages"], start=1)}
        if absent := [folder for folder in files.values() if not (folder / TEST).is_file()]:
            raise FileNotFoundError(f"{absent[0]} has no {TEST}: run the curriculum again to complete it")
        tables = {stage: PredictionTable.read(folder / TEST) for stage, folder in files.items()}
        return cls(tables, {corpus: facts["learnt_in"] for corpus, facts in content["corpora"].items()})

    @classmethod
    def pool(cls, tables: Sequence[ForgettingTable]) -> ForgettingTable:
        """Return the folds and seeds of one curriculum as one table; an utterance under several seeds counts once.

        Raises:
            ValueError: if their stages differ.
            TableError: as `PredictionTable.pool`.
        """
        first = tables[0]
        for other in tables[1:]:
            if (list(other.after_stage), other.learnt_in) != (list(first.after_stage), first.learnt_in):
                raise ValueError(
                    f"cannot pool curricula with different stages: {', '.join(first.after_stage)} and "
                    f"{', '.join(other.after_stage)}; report each alone"
                )
        pooled = {
            stage: PredictionTable.pool([table.after_stage[stage] for table in tables]) for stage in first.after_stage
        }
        return cls(pooled, first.learnt_in)

    def table(self, corpus: str, stage: str | None = None) -> PredictionTable:
        """Return the predictions for one corpus after a stage, by default the last. `compare` accepts such tables."""
        return self.after_stage[stage or self._stages[-1]].on_corpora([corpus])

    def after(self, corpus: str, stage: str) -> dict:
        """Return `n`, `speakers` (None if any is unknown), UAR and interval of one corpus after one stage."""
        table = self.table(corpus, stage)
        interval = table.rate(uar_of)[1]
        return {
            "stage": stage,
            "n": table.n,
            "speakers": table.speakers,
            "uar": self._uars[corpus][stage][0],
            "uar_interval": None if interval is None else list(interval),
        }

    def forgetting(self, corpus: str) -> Difference:
        """Return the best UAR since the corpus was learnt minus that at the end; 0 if it is best at the end.

        The interval does not account for the choice of the best stage.
        """
        since = self._stages[self._stages.index(self.learnt_in[corpus]) :]
        return self._mean([corpus], [(max(since, key=lambda stage: self._uars[corpus][stage][0]), self._stages[-1])])

    def transfer(self, corpus: str) -> Difference:
        """Return the UAR at the end minus that right after the corpus was learnt: negative if it was forgotten."""
        return self._mean([corpus], [(self._stages[-1], self.learnt_in[corpus])])

    @property
    def backward_transfer(self) -> Difference | None:
        """The mean of `transfer` over the corpora that were learnt before the last stage; None without such corpora.

        Source: Lopez-Paz and Ranzato (2017), arXiv:1706.08840, section 2, with UAR in place of accuracy.
        """
        earlier = [corpus for corpus, stage in self.learnt_in.items() if stage != self._stages[-1]]
        return self._mean(earlier, [(self._stages[-1], self.learnt_in[corpus]) for corpus in earlier])

    @property
    def forward_transfer(self) -> Difference | None:
        """The mean UAR of the later corpora right before they were learnt, minus chance; None without such corpora.

        Source: as `backward_transfer`; chance, the UAR of a constant answer, stands for that of an untrained network.
        """
        later = [corpus for corpus, stage in self.learnt_in.items() if stage != self._stages[0]]
        before = [self._stages[self._stages.index(self.learnt_in[corpus]) - 1] for corpus in later]
        return self._mean(later, [(stage, None) for stage in before])

    @property
    def average(self) -> Difference:
        """The mean UAR over all corpora at the end; each corpus has the same weight."""
        totals, without_each = zip(*(self._uars[corpus][self._stages[-1]] for corpus in self.learnt_in), strict=True)
        return Difference(float(np.mean(totals)), mean_interval(totals, without_each))

    def to_dict(self) -> dict:
        means = {name: getattr(self, name) for name in ("average", "backward_transfer", "forward_transfer")}
        rows = self.after_stage[self._stages[-1]].rows
        return {
            "stages": self._stages,
            "folds": sorted(int(fold) for fold in rows["fold"].unique()),
            "seeds": sorted(int(seed) for seed in rows["seed"].unique()),
            "method": METHOD,
            **{name: None if mean is None else mean.to_dict() for name, mean in means.items()},
            "corpora": {
                corpus: {
                    "learnt_in": stage,
                    "forgetting": self.forgetting(corpus).to_dict(),
                    "transfer": self.transfer(corpus).to_dict(),
                    "after": [self.after(corpus, stage) for stage in self._stages],
                }
                for corpus, stage in self.learnt_in.items()
            },
        }  # fmt: skip

    def to_markdown(self) -> str:
        """Return one row per corpus and one column per stage; the stage in which a corpus was new is in bold."""
        rows = []
        for corpus, learnt in self.learnt_in.items():
            after = [self.after(corpus, stage) for stage in self._stages]
            cells = [shown(row["uar"], row["uar_interval"]) for row in after]
            cells[self._stages.index(learnt)] = f"**{cells[self._stages.index(learnt)]}**"
            lost, kept = self.forgetting(corpus), self.transfer(corpus)
            changes = [shown(kept.value, kept.interval, "+"), shown(lost.value, lost.interval)]
            rows.append([corpus, after[0]["n"], *cells, *(["-", "-"] if learnt == self._stages[-1] else changes)])
        stages = [f"after {stage}" for stage in self._stages]
        lines = markdown_table(
            ["UAR on unseen speakers", "n", *stages, "end - right after [95 %]", "best since - end [95 %]"], rows
        )
        lines += ["", f"At the end {shown(self.average.value, self.average.interval)} on average over the corpora."]
        if (backward := self.backward_transfer) is not None:
            lines[-1] += (
                f" Backward transfer {shown(backward.value, backward.interval, '+')}: the mean of end - right after. "
                "Noise alone makes best since - end positive, because it takes the highest of several noisy figures."
            )
        if (forward := self.forward_transfer) is not None:
            lines[-1] += (
                f" Forward transfer {shown(forward.value, forward.interval, '+')}: the mean of UAR before a corpus is "
                "learnt - chance."
            )
        lines.append(f"(bold: right after the corpus was learnt; {METHOD}.)")
        return "\n".join(lines)

    def write(self, folder: str | Path) -> None:
        """Write `forgetting.json` and `forgetting.md` into a folder."""
        write_whole(Path(folder, FORGETTING), json.dumps(self.to_dict(), indent=2) + "\n")
        write_whole(Path(folder, FORGETTING_MARKDOWN), self.to_markdown() + "\n")

    @property
    def _stages(self) -> list[str]:
        return list(self.after_stage)

    @cached_property
    def _uars(self) -> dict[str, dict[str | None, tuple[float, np.ndarray]]]:
        """{corpus: {stage: (UAR, UAR without each speaker, shape (speakers,))}}; the stage None stands for chance.

        With unknown speakers the array is empty, so there is no interval.
        """
        uars: dict = {corpus: {} for corpus in self.learnt_in}
        for corpus in uars:
            for stage in self._stages:
                table = self.table(corpus, stage)
                if table.speakers is None:
                    table = PredictionTable(table.rows.assign(speaker="somebody"), table.metadata)
                each = weighted_confusions(table, table.metadata.classes)
                total = each.sum(axis=0)
                without_each = uar_of(total - each) if len(each) > 1 else np.empty(0)
                uars[corpus][stage] = float(uar_of(total)), without_each
            uars[corpus][None] = table.chance, np.full_like(without_each, table.chance)
        return uars

    def _mean(self, corpora: Sequence[str], pairs: Sequence[tuple[str, str | None]]) -> Difference | None:
        """Return the mean over corpora of the UAR after one stage minus that after another; None stands for chance."""
        if not corpora:
            return None
        each = [
            (self._uars[corpus][one], self._uars[corpus][other])
            for corpus, (one, other) in zip(corpora, pairs, strict=True)
        ]
        totals = [one[0] - other[0] for one, other in each]
        without_each = [one[1] - other[1] for one, other in each]
        return Difference(float(np.mean(totals)), mean_interval(totals, without_each, (-1.0, 1.0)))


def stage_folder(run: str | Path, number: int, stage: str) -> Path:
    """Return the folder of a curriculum's results after a stage; stages are numbered from 1."""
    return Path(run, f"stage{number}-{stage}")
