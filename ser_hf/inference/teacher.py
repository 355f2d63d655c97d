"""The teacher: a trained classifier on whose answers another one is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.cache_keys import CacheError
from ..data.columns import LOG_MEL_COLUMN
from ..data.precompute import precompute
from ..files import CONFIG, fold_folder, fold_folders, fold_of
from ..models.checkpoint_files import refuse_unfit_files
from ..models.checkpoint_settings import refuse_values
from ..models.family import ModelError
from ..models.records import family_of
from ..models.temperature import has_one_answer
from ..splits.ledger import Ledger, LedgerError
from .classifier import Classifier
from .predict import predict_probabilities

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import FeatureExtractionMixin, PreTrainedModel

    from ..splits.protocol import Protocol

_SMALLEST = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Teacher:
    """A classifier in a folder or on the Hub, of any family of ours or a stock class, and its ledger.

    Attributes:
        ledger: its training data; None if unknown, as for other people's models.
    """

    name_or_path: str
    ledger: Ledger | None

    @classmethod
    def of_fold(cls, name_or_path: str, fold: int) -> Teacher:
        """Return the teacher of a fold: the model of this fold if a run has several folds, else the model itself.

        Raises:
            ModelError: if the run has no model of this fold, or as `refuse_unfit_files`.
        """
        folds = fold_folders(name_or_path, CONFIG)
        if folds and not Path(name_or_path, CONFIG).is_file():
            chosen = fold_folder(name_or_path, fold)
            if chosen not in folds:
                only = ", ".join(one.name for one in folds)
                raise ModelError(f"the teacher {name_or_path} has no model of fold {fold}, only {only}")
            name_or_path = str(chosen)
        refuse_unfit_files(name_or_path)
        return cls(name_or_path, Ledger.of_model(name_or_path))

    @property
    def name(self) -> str:
        """The name in reports: the Hub name, or the last part of a folder."""
        path = Path(self.name_or_path)
        if not path.is_dir():
            return self.name_or_path
        path = path.resolve()
        return path.name if fold_of(path) is None else path.parent.name

    def refuse_leak(self, parts: Mapping[str, Dataset], protocol: Protocol) -> None:
        """Raise a `LedgerError` if test or validation data of the student leaks through this teacher.

        The teacher must not be trained or chosen on a test speaker or recording of the student, nor trained on its
        validation part. Both may be chosen on the same validation speakers, like two models in one protocol. Nothing is
        raised for a teacher without a ledger.

        Args:
            parts: parts of `split`, with the column `audio_hash` of `precompute.hash_audio`.
        """
        if self.ledger is None:
            return
        try:
            self.ledger.refuse_seen(parts["test"], speakers=protocol.is_speaker_independent)
            apart = ("train", "validation") in protocol.disjoint_speakers
            self.ledger.refuse_seen(parts["validation"], speakers=apart, part="validation", seen_in=("train",))
        except LedgerError as error:
            raise LedgerError(
                f"the teacher {self.name_or_path} would leak data that the student is evaluated on: {error}"
            ) from error

    def refuse_unfit(self, classes: Sequence[str], *, label_map: Mapping[str, str] | None = None) -> None:
        """Raise the `ModelError` of `log_probabilities`, before anything else is computed."""
        self._opened(classes, label_map)

    def log_probabilities(
        self, dataset: Dataset, *, label_map: Mapping[str, str] | None = None, device: str | None = None
    ) -> np.ndarray:
        """Return the teacher's log-probabilities of the classes of the dataset, (utterances, classes), float32.

        A temperature that was merged into the teacher's weights is included. The teacher's labels that are not classes
        of the dataset are left out; every class needs a label. Rows are scored from cached columns if these fit the
        teacher, else from recordings.

        Args:
            label_map: classes of the dataset for the teacher's labels, if the names differ.
            device: as in `Classifier.from_pretrained`.

        Raises:
            ModelError: for a model that does not exist, is not trained, is multi-label, or lacks a class.
            CacheError: if there are no recordings and the cached columns do not fit the teacher.
        """
        classifier, assignment = self._opened(dataset.features["label"].names, label_map, device)
        model, extractor = classifier.model, classifier.extractor
        rows = self._rows_to_score(dataset, model, extractor)
        probabilities = predict_probabilities(model, extractor, rows) @ assignment
        return np.log(probabilities.clip(_SMALLEST)).astype(np.float32)

    def _opened(
        self, classes: Sequence[str], label_map: Mapping[str, str] | None, device: str | None = None
    ) -> tuple[Classifier, np.ndarray]:
        """Return the classifier, and the matrix of `_assign`."""
        classifier = Classifier.from_pretrained(self.name_or_path, device=device)
        refuse_values(self.name_or_path, classifier.model.config)
        if not has_one_answer(classifier.model):
            raise ModelError(
                f"the teacher {self.name_or_path} is multi-label, but a student needs scores that sum to 1: use a "
                "teacher trained with --targets label or votes"
            )
        return classifier, self._assign(classifier.labels, classes, label_map)

    def _assign(self, labels: Sequence[str], classes: Sequence[str], label_map: Mapping[str, str] | None) -> np.ndarray:
        """Return a matrix with a one where a label of the teacher is a class, else zeros, (labels, classes)."""
        called = dict(zip(labels, labels, strict=True)) if label_map is None else label_map
        if strange := sorted(set(called) - set(labels)):
            raise ModelError(f"teacher_labels: the teacher has no label {strange[0]!r}, only {', '.join(labels)}")
        if missing := [name for name in classes if name not in called.values()]:
            raise ModelError(
                f"the teacher {self.name_or_path} has no label for {missing[0]}: its labels are {', '.join(labels)}. "
                f"Map its labels to classes (--teacher_labels label={missing[0]} ...), or use a scheme of its labels"
            )
        return np.asarray([[float(called.get(label) == name) for name in classes] for label in labels])

    def _rows_to_score(self, dataset: Dataset, model: PreTrainedModel, extractor: FeatureExtractionMixin) -> Dataset:
        """Return the rows for the teacher: with its own cached columns, or with recordings alone."""
        names, has_audio = dataset.column_names, "audio" in dataset.column_names
        cached = next(
            (name for name in (family_of(model).cached_input_of(model), LOG_MEL_COLUMN) if name in names), None
        )
        if cached is not None:
            rows = dataset.with_format(None)  # in which columns can be added; `precompute` sets its own
            rows = rows.remove_columns("audio") if has_audio else rows
            try:
                return precompute(rows, model, extractor, frozen=cached != LOG_MEL_COLUMN)
            except CacheError:
                pass  # the student's, of another encoder or front end
        if not has_audio:
            raise CacheError(
                f"the teacher {self.name_or_path} needs other features than were precomputed, and there are no "
                "recordings: leave precomputed out"
            )
        return dataset.select_columns(["utterance_id", "speaker", "duration", "audio"])
