"""A trained classifier whose answers another one learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.cache_keys import CacheError
from ..data.columns import LOG_MEL_COLUMN
from ..data.precompute import precompute
from ..files import CONFIG
from ..models.family import ModelError
from ..models.records import family_of
from ..models.temperature import has_one_answer
from ..splits.ledger import Ledger, LedgerError
from .classifier import Classifier
from .evaluate import predict_probabilities

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import FeatureExtractionMixin, PreTrainedModel

    from ..splits.protocol import Protocol

_SMALLEST = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Teacher:
    """A classifier in a folder or on the Hub, of any family of ours or a stock class, and what it has heard.

    Attributes:
        ledger: None where nobody knows, as of other people's models.
    """

    name_or_path: str
    ledger: Ledger | None

    @classmethod
    def of_fold(cls, name_or_path: str, fold: int) -> Teacher:
        """The teacher of a fold: of a run over several folds the model of this one, of anything else the model itself.

        Raises:
            ModelError: if the run has no model of this fold, the folder no model, or there is no such folder.
        """
        path = Path(name_or_path)
        if not path.is_dir() and (path.is_absolute() or len(path.parts) > 2):  # else it may be a name on the Hub
            raise ModelError(f"there is no folder {name_or_path}, which is to hold the teacher")
        folds = sorted(file.parent.name for file in Path(name_or_path).glob("fold*/config.json"))
        if folds and not Path(name_or_path, CONFIG).is_file():
            if f"fold{fold}" not in folds:
                raise ModelError(f"the teacher {name_or_path} has no model of fold {fold}, only {', '.join(folds)}")
            name_or_path = str(Path(name_or_path, f"fold{fold}"))
        elif path.is_dir() and not Path(path, CONFIG).is_file():
            raise ModelError(f"the folder {name_or_path} holds no teacher: neither a config.json nor a fold0 with one")
        return cls(name_or_path, Ledger.of_model(name_or_path))

    @property
    def name(self) -> str:
        """What reports call it: its Hub name, or the last part of a folder."""
        path = Path(self.name_or_path)
        if not path.is_dir():
            return self.name_or_path
        path = path.resolve()
        return path.parent.name if path.name.startswith("fold") else path.name

    def refuse_leak(self, parts: Mapping[str, Dataset], protocol: Protocol) -> None:
        """Raises a `LedgerError` if what a student is judged on would reach it through this teacher.

        No test speaker or recording may be among what the teacher was trained or chosen on, and none of the validation
        part among what it was trained on. That both were chosen on the same validation speakers is fine, as it is of
        two models in one protocol. Of a teacher without a ledger nobody knows.

        Args:
            parts: of `split`, with the column `audio_hash` of `precompute.hash_audio`.
        """
        if self.ledger is None:
            return
        try:
            self.ledger.refuse_heard(parts["test"], speakers=protocol.is_speaker_independent)
            apart = ("train", "validation") in protocol.disjoint_speakers
            self.ledger.refuse_heard(parts["validation"], speakers=apart, part="validation", heard_in=("train",))
        except LedgerError as error:
            raise LedgerError(
                f"the teacher {self.name_or_path} would tell its student what that is judged on: {error}"
            ) from error

    def refuse_unfit(self, classes: Sequence[str], *, label_map: Mapping[str, str] | None = None) -> None:
        """Raises the `ModelError` of `log_probabilities`, before anything else is computed."""
        self._opened(classes, label_map)

    def log_probabilities(
        self, dataset: Dataset, *, label_map: Mapping[str, str] | None = None, device: str | None = None
    ) -> np.ndarray:
        """What the teacher answers: log-probabilities of the classes of the dataset, (utterances, classes), float32.

        They are as calibrated as the teacher is: a temperature that was folded into its weights has been applied. Its
        labels that are no class of the dataset are left out, and every class has to have one. Rows whose cached columns
        are the teacher's own are scored from them, others from their recordings.

        Args:
            label_map: the teacher's labels as classes of the dataset, for models that call them otherwise.
            device: as in `Classifier.from_pretrained`.

        Raises:
            ModelError: for a model that does not exist, is not trained, gives every emotion a probability of its own,
                or lacks a class.
            CacheError: if there are no recordings and the teacher hears something else than what was precomputed.
        """
        classifier, assignment = self._opened(dataset.features["label"].names, label_map, device)
        model, extractor = classifier.model, classifier.extractor
        probabilities = predict_probabilities(model, extractor, self._heard(dataset, model, extractor)) @ assignment
        return np.log(probabilities.clip(_SMALLEST)).astype(np.float32)

    def _opened(
        self, classes: Sequence[str], label_map: Mapping[str, str] | None, device: str | None = None
    ) -> tuple[Classifier, np.ndarray]:
        """The classifier, and which of its labels is which class."""
        classifier = Classifier.from_pretrained(self.name_or_path, device=device)
        if not has_one_answer(classifier.model):
            raise ModelError(
                f"the teacher {self.name_or_path} scores every emotion by itself (multi-label), and a student learns "
                "from scores that sum to 1: choose one that was trained with targets label or votes"
            )
        return classifier, self._assign(classifier.labels, classes, label_map)

    def _assign(self, labels: Sequence[str], classes: Sequence[str], label_map: Mapping[str, str] | None) -> np.ndarray:
        """Which label of the teacher is which class: ones and zeros, (labels, classes)."""
        called = dict(zip(labels, labels, strict=True)) if label_map is None else label_map
        if strange := sorted(set(called) - set(labels)):
            raise ModelError(f"teacher_labels: the teacher has no label {strange[0]!r}, it has {', '.join(labels)}")
        if missing := [name for name in classes if name not in called.values()]:
            raise ModelError(
                f"the teacher {self.name_or_path} has no label for {missing[0]}: its labels are {', '.join(labels)}. "
                f"Say which is which (--teacher_labels label={missing[0]} ...), or choose a scheme that it knows"
            )
        return np.asarray([[float(called.get(label) == name) for name in classes] for label in labels])

    def _heard(self, dataset: Dataset, model: PreTrainedModel, extractor: FeatureExtractionMixin) -> Dataset:
        """The rows as the teacher hears them: with its own cached columns, or with recordings alone."""
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
                f"the teacher {self.name_or_path} hears something else than was precomputed, and there are no "
                "recordings: leave precomputed out"
            )
        return dataset.select_columns(["utterance_id", "speaker", "duration", "audio"])
