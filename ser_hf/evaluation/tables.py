"""The prediction table: one row per test utterance. Every report is made from it, also for models of others."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas
from numpy.typing import ArrayLike

from ..files import whole
from ..splits.protocol import Protocol
from ..splits.relation import Adaptation, Relation, from_older_facts
from .foreign import TableError, checked_facts, naming, read_csv, read_parquet, refuse_wrong_types
from .intervals import Interval, speaker_interval
from .metrics import Metric, confusion_matrix

COLUMNS = (
    "utterance_id", "corpus", "language", "speaker", "gender", "age", "session", "statement", "intensity",
    "label_source", "duration", "fold", "seed", "label", "prediction",
)  # fmt: skip
# The other columns may be null, which means unknown.
NEVER_NULL = ("utterance_id", "corpus", "fold", "seed")

# Passes a float32 softmax and rounding to three decimals, but not a forgotten class or logits.
_SUM_TOLERANCE = 1e-3
_METADATA_KEY = b"ser_hf"


@dataclass(frozen=True)
class TableMetadata:
    """The origin of a table's predictions: test set, model, and the data that the model knew.

    Attributes:
        protocol: the evaluation protocol, such as `ravdess/si6`.
        scheme: the label scheme.
        classes: class names in the order of the probability columns.
        dropped: utterances that the scheme dropped, {corpus: {emotion: number}}.
        partial: one clause about the missing part of each incomplete corpus, {corpus: clause}.
        model: the name of the model.
        relation: the part that the test speakers had in the training, a `splits.relation.Relation`.
        adaptation: the use of their unlabelled recordings at test time, a `splits.relation.Adaptation`.
        synthetic: True if the test utterances are synthetic speech.
        trained_on: the corpora that the model was trained on; empty: unknown.
        condition: the disturbance of the recordings before they were scored; "clean": none.
        part: "test"; "validation": speakers on whom the model, its epoch or its temperature was chosen; "train":
            speakers on whom it was trained.
        evaluation_map: other classes for which a predicted class counts as correct, as in `emotions.EvaluationMap`.
        multi_label: True if the model scores every emotion independently. Its probabilities were then normalised to
            sum to 1; they are not a confidence, and calibration does not apply.
        scoring: device, number format and library versions of the scoring; empty: not recorded.
        declared_new: True if a user says that the test speakers are new to the model, which was not checked.
        removed_answers: labels of the model that the scheme does not have; their probabilities were removed.
        languages: language of each corpus that was trained on or evaluated on, BCP 47, if it is known.
        cross_validated: True if the rows are answers of the models of a cross-validation, which stand for a final model
            that was trained on all of these utterances.
    """

    protocol: str
    scheme: str
    classes: tuple[str, ...]
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    partial: Mapping[str, str] = field(default_factory=dict)
    model: str = "unnamed"
    relation: str = Relation.HELD_OUT.value
    adaptation: str = Adaptation.NONE.value
    synthetic: bool = False
    trained_on: tuple[str, ...] = ()
    condition: str = "clean"
    part: str = "test"
    evaluation_map: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    multi_label: bool = False
    scoring: Mapping[str, str] = field(default_factory=dict)
    declared_new: bool = False
    removed_answers: tuple[str, ...] = ()
    languages: Mapping[str, str] = field(default_factory=dict)
    cross_validated: bool = False

    def __post_init__(self):
        object.__setattr__(self, "relation", Relation(self.relation).value)
        object.__setattr__(self, "adaptation", Adaptation.check(self.adaptation))
        # JSON has only lists, and the order of a map does not matter.
        judged = {predicted: tuple(sorted(true)) for predicted, true in sorted(self.evaluation_map.items())}
        object.__setattr__(self, "evaluation_map", judged)
        if strange := [name for name in self.classes if not name.isprintable()]:
            raise TableError(f"the class {strange[0]!r} has a character that cannot be printed: rename it")
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise TableError(f"the classes of a prediction table must be different names, not {list(self.classes)}")
        if strange := sorted({*judged, *(name for true in judged.values() for name in true)} - set(self.classes)):
            raise TableError(
                f"the evaluation map names {strange[0]!r}, which is not a class of the table: {', '.join(self.classes)}"
            )


@dataclass(frozen=True)
class PredictionTable:
    """Predictions of a test set: `COLUMNS`, a column `p_<class>` with the probability of each class, and any others.

    The columns `true_<dimension>` and `predicted_<dimension>` of valence, arousal and dominance are on one scale.

    Raises:
        TableError: for missing columns, unknown labels, invalid probabilities, a prediction that is not the most
            probable class, or an utterance that occurs twice with the same seed.
    """

    rows: pandas.DataFrame
    metadata: TableMetadata

    def __post_init__(self):
        categories = self.rows.select_dtypes("category").columns
        if len(categories):  # they cannot take a new value, and are grouped by values that do not occur
            object.__setattr__(self, "rows", self.rows.astype(dict.fromkeys(categories, object)))
        classes, rows, names = self.metadata.classes, self.rows, self._probability_columns
        if absent := [column for column in (*COLUMNS, *names) if column not in rows]:
            raise TableError(
                f"the prediction table has no column {', '.join(absent)}; fill a column with nulls if it is unknown"
            )
        if rows.empty:
            raise TableError("the prediction table has no rows")
        refuse_wrong_types(rows, names)

        self._refuse(
            rows[list(NEVER_NULL)].isna().any(axis=1),
            lambda row: (
                f"has no {', '.join(row.index[row.isna()].intersection(NEVER_NULL))}; use fold 0 if there are no folds"
            ),
        )
        # Each utterance is tested once, but in some protocols it is in the validation part of several folds.
        once = ["utterance_id", "seed", *(["fold"] if self.metadata.part == "validation" else [])]
        self._refuse(
            rows.duplicated(once),
            lambda row: f"occurs twice with the seed {row['seed']}; keep one row, or give each run its own seed",
        )
        self._refuse(
            ~rows["label"].isin(classes),
            lambda row: f"has the label {row['label']!r}; classes: {', '.join(classes)}. Drop it or rename the label",
        )
        probabilities = self.probabilities
        self._refuse(
            ~((probabilities >= 0) & (probabilities <= 1)).all(axis=1),  # NaN is outside too
            lambda row: f"has a probability outside [0, 1] ({self._shown(row)}); apply a softmax to logits",
        )
        self._refuse(
            np.abs(probabilities.sum(axis=1) - 1) > _SUM_TOLERANCE,
            lambda row: f"has probabilities that do not sum to 1 ({self._shown(row)}); every class needs a column",
        )
        # Compared by value: of two equally probable classes, either may be the prediction.
        is_predicted = rows["prediction"].to_numpy()[:, None] == np.asarray(classes, dtype=object)
        self._refuse(
            (probabilities * is_predicted).max(axis=1) < probabilities.max(axis=1),
            lambda row: (
                f"has the prediction {row['prediction']!r}, not its most probable class ({self._shown(row)}); "
                "predict the argmax"
            ),
        )

    def _shown(self, row: pandas.Series) -> str:
        return ", ".join(f"{name} = {row[name]}" for name in self._probability_columns)

    def _refuse(self, wrong: Sequence[bool], what: Callable[[pandas.Series], str]) -> None:
        """Raise for the first wrong row; `what` gives the words."""
        positions = np.flatnonzero(wrong)
        if positions.size:
            row = self.rows.iloc[positions[0]]
            raise TableError(f"utterance {row['utterance_id']} {what(row)} [{positions.size} of {len(self.rows)} rows]")

    @property
    def _probability_columns(self) -> list[str]:
        return [f"p_{name}" for name in self.metadata.classes]

    @property
    def probabilities(self) -> np.ndarray:
        """(utterances, classes), float64."""
        return self.rows[self._probability_columns].to_numpy(dtype=np.float64)

    @property
    def references(self) -> np.ndarray:
        """True class ids, (utterances,)."""
        return pandas.Index(self.metadata.classes).get_indexer(self.rows["label"])

    @property
    def predictions(self) -> np.ndarray:
        """Predicted class ids, (utterances,), after the evaluation map: a prediction that counts as the true class is
        replaced by the true class. The answer of the model is in the column `prediction`."""
        answered = pandas.Index(self.metadata.classes).get_indexer(self.rows["prediction"])
        return np.where(self._is_right[answered, self.references], self.references, answered)

    @property
    def n(self) -> int:
        """Number of utterances; rows of one utterance under several seeds count once."""
        return int(self.rows["utterance_id"].nunique())

    @property
    def speakers(self) -> int | None:
        """Number of speakers; None if any is unknown."""
        return None if self.rows["speaker"].isna().any() else int(self.rows["speaker"].nunique())

    @property
    def has_confidence(self) -> bool:
        """True if the greatest probability is a confidence: not for a multi-label model, nor with an evaluation map."""
        return not (self.metadata.multi_label or self.metadata.evaluation_map)

    def rate(self, metric: Metric) -> tuple[float, Interval]:
        """Return the value of a metric and its 95 % interval over speakers."""
        judged = self.references, self.predictions
        interval = speaker_interval(metric, *judged, self.rows["speaker"], utterances=self.rows["utterance_id"])
        return float(metric(confusion_matrix(*judged, len(self.metadata.classes)))), interval

    def part(self, chosen: ArrayLike) -> PredictionTable:
        """Return a table of some rows, chosen by their positions or by a mask."""
        return PredictionTable(self.rows.iloc[np.arange(len(self.rows))[chosen]], self.metadata)

    @property
    def chance(self) -> float:
        """The best UAR of a model that always gives the same answer: 1 / number of classes present, or more if the
        evaluation map lets one answer count as several of them."""
        present = np.unique(self.references)
        return float(self._is_right[:, present].mean(axis=1).max())

    def on_corpora(self, corpora: Collection[str]) -> PredictionTable:
        """Return the predictions for some corpora, with the protocol of these corpora.

        Raises:
            TableError: if the table has no utterance of these corpora.
        """
        facts, rows = self.metadata, self.rows[self.rows["corpus"].isin(corpora)].reset_index(drop=True)
        cut = dataclasses.replace(
            facts,
            protocol=Protocol.parse(facts.protocol).of_corpora(corpora).name,
            synthetic=facts.synthetic or set(rows["label_source"]) == {"synthetic"},
            dropped={name: dropped for name, dropped in facts.dropped.items() if name in corpora},
            partial={name: lacks for name, lacks in facts.partial.items() if name in corpora},
        )
        return PredictionTable(rows, cut)

    @property
    def _is_right(self) -> np.ndarray:
        """True where an answer is right for a true class, (predicted, true)."""
        classes = pandas.Index(self.metadata.classes)
        right = np.eye(len(classes), dtype=bool)
        for predicted, true in self.metadata.evaluation_map.items():
            right[classes.get_loc(predicted), classes.get_indexer(true)] = True
        return right

    def write(self, path: str | Path) -> None:
        """Write one Parquet file; the metadata are in its schema, as JSON under the key `ser_hf`."""
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.Table.from_pandas(self.rows, preserve_index=False)
        content = json.dumps(dataclasses.asdict(self.metadata), sort_keys=True).encode()
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _METADATA_KEY: content})
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # An interrupted run takes an existing table as a sign that its fold is finished.
        with whole(path) as unfinished:
            pyarrow.parquet.write_table(table, unfinished, write_page_checksum=True)

    @classmethod
    def of_others(cls, rows: pandas.DataFrame) -> PredictionTable:
        """Return a table of any model's predictions: `label`, a column `p_<class>` for each class, and optional others.

        Missing `COLUMNS` are filled as unknown; the prediction is the most probable class. The choice of the test set
        and the training data of the model are unknown, and the report says so.

        Raises:
            TableError: without `label` or probabilities, and for the same reasons as the class.
        """
        classes = tuple(name.removeprefix("p_") for name in rows.columns if str(name).startswith("p_"))
        if "label" not in rows or not classes:
            raise TableError(
                "not a prediction table: it needs the column `label` and a column `p_<class>` for each class; speaker, "
                f"corpus and others are optional. It has {', '.join(map(str, rows.columns[:20]))}"
            )
        known = {"utterance_id": [f"{row:06d}" for row in range(len(rows))], "corpus": "unnamed", "fold": 0, "seed": 0}
        for name in COLUMNS:
            if name not in rows:
                rows = rows.assign(**{name: known.get(name)})
        winners = rows[[f"p_{name}" for name in classes]].to_numpy().argmax(axis=1)
        text = {name: rows[name].map(str, na_action="ignore") for name in ("utterance_id", "speaker", "label")}
        metadata = TableMetadata(
            "a test set of others", "of the table", classes, model="not ours", relation=Relation.UNKNOWN
        )  # fmt: skip
        return cls(rows.assign(**text, prediction=[classes[winner] for winner in winners]), metadata)

    @classmethod
    def read(cls, path: str | Path) -> PredictionTable:
        """Read a table that `write` wrote; or any other CSV or Parquet file, as described in `of_others`.

        Raises:
            TableError: if the file is not a prediction table, or is damaged.
        """
        path = Path(path)
        if not path.is_file():
            raise TableError(f"there is no prediction table {path}: check the path")
        with naming(path):
            if path.suffix.lower() in (".csv", ".tsv"):
                return cls.of_others(read_csv(path))
            rows, notes = read_parquet(path)
            content = notes.get(_METADATA_KEY)
            return cls.of_others(rows) if content is None else cls(rows, _metadata(content))

    @classmethod
    def pool(cls, tables: Sequence[PredictionTable]) -> PredictionTable:
        """Return the folds and seeds of one protocol as one table.

        Raises:
            TableError: if their metadata differ (the message names the field), or if an utterance occurs twice with
                the same seed.
        """
        if not tables:
            raise TableError("there are no prediction tables to pool")
        first = dataclasses.asdict(tables[0].metadata)
        for other in tables[1:]:
            for name, value in dataclasses.asdict(other.metadata).items():
                if value != first[name] and name != "scoring":
                    raise TableError(
                        f"cannot pool tables that differ in {name}: {first[name]!r} and {value!r}; report each alone"
                    )
        scoring: dict[str, str] = {}
        for name in dict.fromkeys(name for table in tables for name in table.metadata.scoring):
            values = dict.fromkeys(table.metadata.scoring.get(name, "not recorded") for table in tables)
            scoring[name] = " and ".join(values)  # folds may have been run on several machines
        rows = pandas.concat([table.rows for table in tables], ignore_index=True)
        return cls(rows, dataclasses.replace(tables[0].metadata, scoring=scoring))


def _metadata(content: bytes) -> TableMetadata:
    """Return the metadata that a table holds as JSON; those of the first form are translated."""
    try:
        facts = json.loads(content)
        if isinstance(facts, dict) and "relation" not in facts:
            facts = from_older_facts(facts)
        return TableMetadata(**checked_facts(facts))
    except TableError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise TableError(f"the metadata are damaged or of another version of ser_hf ({error})") from error
