"""The prediction table: one row per test utterance, from which every report is made, whoever made the predictions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas

COLUMNS = (
    "utterance_id", "corpus", "language", "speaker", "gender", "age", "session", "statement", "intensity",
    "label_source", "duration", "fold", "seed", "label", "prediction",
)  # fmt: skip
_METADATA_KEY = b"ser_hf"


class TableError(ValueError):
    """A prediction table that cannot be believed; the message names the first wrong row."""


@dataclass(frozen=True)
class TableMetadata:
    """What a table's predictions were made of.

    Attributes:
        protocol: the evaluation protocol, such as `ravdess/si6`.
        scheme: the label scheme.
        classes: class names in the order of the probability columns.
        dropped: utterances that the scheme dropped, {corpus: {emotion: number}}.
        partial: what incomplete corpora lack, {corpus: one clause}.
        model: what to call the model.
        speaker_knowledge: what the model knew of the test speakers; "blind": nothing.
        speaker_independent: whether no test speaker was trained or validated on.
        synthetic: whether the test utterances are synthetic speech.
    """

    protocol: str
    scheme: str
    classes: tuple[str, ...]
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    partial: Mapping[str, str] = field(default_factory=dict)
    model: str = "unnamed"
    speaker_knowledge: str = "blind"
    speaker_independent: bool = True
    synthetic: bool = False


@dataclass(frozen=True)
class PredictionTable:
    """Predictions of a test set: `COLUMNS` and a column `p_<class>` with the probability of each class.

    Raises:
        TableError: for missing columns, unknown labels, probabilities that are none, or an utterance that stands twice.
    """

    rows: pandas.DataFrame
    metadata: TableMetadata

    def __post_init__(self):
        classes, rows = self.metadata.classes, self.rows
        if absent := [column for column in (*COLUMNS, *self._probability_columns) if column not in rows]:
            raise TableError(f"the prediction table has no column {', '.join(absent)}")
        if rows.empty:
            raise TableError("the prediction table has no row")
        self._refuse(rows.duplicated(["utterance_id", "seed"]), "stands twice with the same seed")
        self._refuse(~rows["label"].isin(classes), f"has a label that is none of {', '.join(classes)}")
        probabilities = self.probabilities
        self._refuse(
            ~(np.isfinite(probabilities) & (probabilities >= 0) & (probabilities <= 1)).all(axis=1),
            "has a probability outside [0, 1]",
        )
        self._refuse(np.abs(probabilities.sum(axis=1) - 1) > 1e-3, "has probabilities that do not sum to 1")
        winners = np.asarray(classes, dtype=object)[probabilities.argmax(axis=1)]
        self._refuse(rows["prediction"].to_numpy() != winners, "has a prediction that is not its most probable class")

    def _refuse(self, wrong: Sequence[bool], what: str) -> None:
        rows = self.rows["utterance_id"][np.asarray(wrong)]
        if len(rows):
            raise TableError(f"utterance {rows.iloc[0]} {what} ({len(rows)} of {len(self.rows)} rows)")

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
        """Predicted class ids, (utterances,)."""
        return pandas.Index(self.metadata.classes).get_indexer(self.rows["prediction"])

    def write(self, path: str | Path) -> None:
        """One Parquet file; the metadata travel in its schema."""
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.Table.from_pandas(self.rows, preserve_index=False)
        content = json.dumps(dataclasses.asdict(self.metadata), sort_keys=True).encode()
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _METADATA_KEY: content})
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table, path)

    @classmethod
    def read(cls, path: str | Path) -> PredictionTable:
        """A table that `write` wrote.

        Raises:
            TableError: if the file is no prediction table, or a damaged one.
        """
        import pyarrow
        import pyarrow.parquet

        if not Path(path).is_file():
            raise TableError(f"there is no prediction table {path}")
        try:
            table = pyarrow.parquet.read_table(path)
        except pyarrow.ArrowInvalid as error:
            raise TableError(f"{path} is not a Parquet file: {error}") from error
        content = (table.schema.metadata or {}).get(_METADATA_KEY)
        if content is None:
            raise TableError(f"{path} is a Parquet file but no prediction table: it does not say its protocol")
        facts = json.loads(content)
        return cls(table.to_pandas(), TableMetadata(**{**facts, "classes": tuple(facts["classes"])}))

    @classmethod
    def pool(cls, tables: Sequence[PredictionTable]) -> PredictionTable:
        """Folds and seeds of one protocol as one table.

        Raises:
            TableError: if they differ in protocol, scheme, classes or model, or share an utterance of one seed.
        """
        if not tables:
            raise TableError("no prediction table to pool")
        first = dataclasses.asdict(tables[0].metadata)
        for other in tables[1:]:
            for name, value in dataclasses.asdict(other.metadata).items():
                if value != first[name]:
                    raise TableError(f"tables of different {name} cannot be pooled: {first[name]!r} and {value!r}")
        return cls(pandas.concat([table.rows for table in tables], ignore_index=True), tables[0].metadata)
