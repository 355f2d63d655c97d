"""Evaluation of a model on labelled utterances: it returns the prediction table for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pandas
from transformers.utils import logging

from ..corpora import known_corpus
from ..data.columns import provenance
from ..data.targets import scaled_dimensions
from ..emotions import DIMENSIONS
from ..evaluation.chapters.calibration import fit_temperature, tempered
from ..evaluation.chapters.selective import LEVEL, WANTED_RISKS, conformal_quantile, reject_threshold
from ..evaluation.tables import PredictionTable, TableMetadata
from ..models.family import class_names, needs_speakers
from ..models.records import family_of
from ..models.temperature import fold_temperature, folded_temperature, has_one_answer
from ..splits.relation import Adaptation, Relation
from .abstention import VALIDATION, Abstention
from .adaptation import Scored, adapt
from .engine import Engine
from .heads import LogitsAndDimensions
from .offsets import LEAST_UTTERANCES, OffsetRule, choose_rule, of_many
from .predict import predict, predict_probabilities

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import FeatureExtractionMixin, PreTrainedModel

    from ..splits.protocol import Protocol

logger = logging.get_logger(__name__)

KEPT_COLUMNS = (
    "utterance_id", "corpus", "language", "speaker", "gender", "age", "session", "statement", "intensity",
    "label_source", "duration",
)  # fmt: skip
LEAST_SPEAKERS = 5  # for a temperature


def evaluate(
    model: PreTrainedModel,
    extractor: FeatureExtractionMixin,
    dataset: Dataset,
    protocol: Protocol,
    *,
    fold: int,
    seed: int,
    model_name: str,
    label_map: Mapping[str, str] | None = None,
    evaluation_map: Mapping[str, Sequence[str]] | None = None,
    relation: str | None = None,
    trained_on: Sequence[str] = (),
    declared_new: bool = False,
    adaptation: str = Adaptation.NONE,
    part: str = "test",
) -> PredictionTable:
    """Return the prediction table of a test part, with a column `temperature` if the weights contain one.

    If a model estimates valence, arousal and dominance, and the dataset has some, the table has the columns
    `true_<dimension>` and `predicted_<dimension>`, from 0 to 1. They are not adapted to speakers.

    Args:
        dataset: rows of `build_dataset`, with or without the columns of `precompute`, or of `disturb`.
        protocol: the protocol of the test part, from `splits.split.get_protocol`.
        model_name: the name of the model in the report.
        label_map: classes of the dataset for the model's labels, if the names differ; other labels are left out, and
            the remaining probabilities are normalised.
        evaluation_map: other classes for which a label of the model counts as correct, as in `emotions.EvaluationMap`.
            The classes of the table are then those of the dataset and the model's own labels.
        relation: the part that the test speakers had in the training, a `splits.relation.Relation`; default: that of
            the protocol. It is "unknown" for other people's models.
        trained_on: the corpora that the model was trained on; empty if unknown.
        declared_new: True if the relation is the word of a user, who says that the speakers are new to the model.
        adaptation: a `splits.relation.Adaptation`. If utterances of each speaker are drawn or ordered, the table has
            each utterance several times, and its `seed` is the number of the draw.
        part: "test"; for "validation" or "train" the table says that it is not a test of unseen speakers.

    Raises:
        ValueError: if the model has no label for a class.
        CorpusError: if a dimension is far outside the scale of its corpus.
    """
    names = dataset.features["label"].names
    answers = class_names(model.config)
    classes, assignment = assign_classes(answers, names, label_map, evaluation_map)
    true, estimated = _true_dimensions(model, dataset), None
    if adaptation == Adaptation.NONE:
        if true is None:
            probabilities = predict_probabilities(model, extractor, dataset)
        else:
            probabilities, estimated = _both_heads(model, extractor, dataset)
        scored = Scored(np.arange(len(dataset)), np.full(len(dataset), seed), probabilities)
    else:
        scored = adapt(model, extractor, dataset, adaptation)
    probabilities = scored.probabilities @ assignment
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    rows = dataset.select_columns([*KEPT_COLUMNS, "label"]).to_pandas().iloc[scored.positions].reset_index(drop=True)
    rows["fold"], rows["seed"] = fold, scored.draws
    rows["label"] = [names[label] for label in rows["label"]]
    rows["prediction"] = [classes[winner] for winner in probabilities.argmax(axis=1)]
    for number, name in enumerate(classes):
        rows[f"p_{name}"] = probabilities[:, number]
    if true is not None and estimated is not None:
        for number, name in enumerate(DIMENSIONS):
            rows[f"true_{name}"], rows[f"predicted_{name}"] = true[:, number], estimated[:, number]
    temperature = folded_temperature(model)
    if temperature is not None and assignment.sum(axis=0).max() == 1:  # the sum of two labels hides it
        rows["temperature"] = temperature
    facts = provenance(dataset)
    if part != "test":
        relation = Relation.SHARED  # the model was trained, chosen or calibrated on them
    metadata = TableMetadata(
        protocol=protocol.name,
        scheme=facts["scheme"],
        classes=tuple(classes),
        dropped=facts["dropped"],
        partial=facts["partial"],
        model=model_name,
        relation=relation or protocol.relation,
        # Some extractors standardise the features of a speaker with all of the speaker's recordings.
        adaptation=Adaptation.TRANSDUCTIVE.value if needs_speakers(extractor) else adaptation,
        synthetic=set(rows["label_source"]) == {"synthetic"},
        trained_on=tuple(sorted(trained_on)),
        declared_new=declared_new,
        removed_answers=tuple(one for one, kept in zip(answers, assignment.any(axis=1), strict=True) if not kept),
        languages=_languages(rows, trained_on),
        condition=facts.get("condition", "clean"),
        part=part,
        evaluation_map=evaluation_map or {},
        multi_label=not has_one_answer(model),
        scoring=_scoring(model),
    )
    return PredictionTable(rows, metadata)


def _true_dimensions(model: PreTrainedModel, dataset: Dataset) -> np.ndarray | None:
    """Return the dimensions of a dataset, (utterances, 3); None if none is known, or if the model estimates none."""
    if not family_of(model).has_dimensions(model.config):
        return None
    true = scaled_dimensions(dataset)
    return None if np.isnan(true).all() else true


def _both_heads(
    model: PreTrainedModel, extractor: FeatureExtractionMixin, dataset: Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """Return class probabilities, (utterances, classes), and estimated dimensions, (utterances, 3)."""
    scores = predict(LogitsAndDimensions(model, extractor), dataset)
    logits, dimensions = np.split(scores, [model.config.num_labels], axis=1)
    return Engine(model, extractor).function()(logits), dimensions


def _languages(rows: pandas.DataFrame, trained_on: Sequence[str]) -> dict[str, str]:
    """Return the language of each corpus, as far as it is one and known."""
    spoken = {name: spec.language for name in trained_on if (spec := known_corpus(name)) and spec.language}
    tested = {name: set(ones.dropna()) for name, ones in rows.groupby("corpus")["language"]}
    return {**spoken, **{name: languages.pop() for name, languages in tested.items() if len(languages) == 1}}


def _scoring(model: PreTrainedModel) -> dict[str, str]:
    """Return the device, the number format and the library versions that scores depend on."""
    libraries = ("ser_hf", "torch", "transformers", "numpy")
    versions = {name: version(name) for name in libraries}
    return {"device": model.device.type, "dtype": str(model.dtype).removeprefix("torch."), **versions}


def calibrate(model: PreTrainedModel, validation: PredictionTable) -> PredictionTable:
    """Fit a temperature on validation speakers, merge it into a model's weights, and return the calibrated table.

    A multi-label model and its table are not changed; nor are others if the validation part has fewer than
    `LEAST_SPEAKERS` speakers, or if they are unknown: a temperature of two people may triple the error on others.

    Args:
        validation: table of `evaluate` for this model and its validation part.
    """
    if not has_one_answer(model):
        return validation
    if (speakers := validation.rows["speaker"].nunique()) < LEAST_SPEAKERS:
        logger.warning(
            f"no temperature is merged into the model: {speakers} validation speakers are known, and fewer than "
            f"{LEAST_SPEAKERS} do not stand for others"
        )
        return validation
    correction = fit_temperature(validation.probabilities, validation.references)
    fold_temperature(model, (folded_temperature(model) or 1.0) * correction)
    names = [f"p_{name}" for name in validation.metadata.classes]
    rows = validation.rows.assign(temperature=folded_temperature(model))
    rows[names] = tempered(validation.probabilities, correction)
    return PredictionTable(rows, validation.metadata)


def choose_offsets(model: PreTrainedModel, validation: PredictionTable) -> None:
    """Choose how a model adapts to a voice on validation speakers, and write it into the model's configuration.

    Nothing is written for a model that has a rule already. If a rule cannot be chosen, or if none is better than no
    adaptation, the reason is logged.

    Args:
        validation: table of `evaluate` for this model and its validation part, after `calibrate`.
    """
    if OffsetRule.is_known(model):
        return
    rows = validation.rows
    # In another fold, or with another seed, another model has heard a speaker.
    of_models = zip(rows["fold"], rows["seed"], rows["speaker"], strict=True)
    speakers = [None if pandas.isna(name) else f"{fold}/{seed}/{name}" for fold, seed, name in of_models]
    speakers = np.asarray(speakers, dtype=object)
    many = of_many(speakers)
    labels, names, rule = validation.references[many], speakers[many].astype(str), None
    if not has_one_answer(model):
        reason = "it is multi-label"
    elif validation.metadata.adaptation != Adaptation.NONE:
        reason = "its features know the speaker already"
    elif len(set(names)) < 2 or len(set(labels)) < len(validation.metadata.classes):
        reason = f"there are no two validation speakers with {LEAST_UTTERANCES} utterances each and all classes"
    else:
        logits = np.log(np.maximum(validation.probabilities[many], np.finfo(np.float32).tiny))
        rule = choose_rule(logits, logits, labels, names)
        reason = "it does not help on the validation speakers"
    if rule is None:
        logger.warning(f"this model will not adapt to voices: {reason}")
    else:
        rule.write_to(model)


def choose_thresholds(model: PreTrainedModel, validation: PredictionTable) -> None:
    """Choose on validation speakers when a model abstains, and write it into the model's configuration.

    Nothing is written for a multi-label model.

    Args:
        validation: table of `evaluate` for this model and its validation part, after `calibrate`; for a final model,
            that of its cross-validated models.
    """
    Abstention.forget(model)
    if has_one_answer(model):
        speakers = validation.rows["speaker"]
        thresholds_on(validation.probabilities, validation.references, speakers, VALIDATION).write_to(model)


def thresholds_on(probabilities: np.ndarray, labels: np.ndarray, speakers: Sequence, chosen_on: str) -> Abstention:
    """Return the thresholds and the quantile of a report, chosen on utterances whose speakers a model does not know.

    Args:
        probabilities: (utterances, classes).
        labels: class ids, (utterances,).
        speakers: names, (utterances,); None if unknown.
        chosen_on: says who they are.
    """
    confidences, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    quantile, _ = conformal_quantile(1 - probabilities[np.arange(len(labels)), labels], speakers)
    return Abstention(
        {risk: reject_threshold(confidences, right, risk) for risk in WANTED_RISKS},
        quantile,
        LEVEL,
        chosen_on,
        speakers=pandas.Series(speakers, dtype=object).nunique(),
        utterances=len(labels),
    )


def assign_classes(
    labels: Sequence[str],
    classes: Sequence[str],
    label_map: Mapping[str, str] | None,
    evaluation_map: Mapping[str, Sequence[str]] | None = None,
) -> tuple[list[str], np.ndarray]:
    """Return the classes of the prediction table, and a matrix with a one where a label is a class, (labels, classes).

    The classes are those of the scheme. With an evaluation map, labels that are not in the scheme follow, and the model
    may lack classes of the scheme; utterances of these are then wrong.

    Raises:
        ValueError: if a class has no label and there is no evaluation map, or if a map names an unknown label or class.

    >>> names = ["neu", "hap", "sur"]
    >>> assign_classes(names, ["happiness", "neutral"], {"neu": "neutral", "hap": "happiness"})[1].tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    >>> assign_classes(["boredom", "fear"], ["calm", "fear"], None, {"boredom": ("calm",)})
    (['calm', 'fear', 'boredom'], array([[0., 0., 1.],
           [0., 1., 0.]]))
    """
    mapping = dict(zip(labels, labels, strict=True)) if label_map is None else label_map
    answers = list(classes)
    if evaluation_map:
        answers += sorted(set(mapping.values()) - set(classes))
        if strange := sorted(set(evaluation_map) - set(mapping.values())):
            raise ValueError(f"evaluation_map: the model has no label {strange[0]!r}, only {', '.join(labels)}")
        if strange := sorted({name for true in evaluation_map.values() for name in true} - set(classes)):
            raise ValueError(
                f"evaluation_map: {strange[0]!r} is not a class of the scheme, which has {', '.join(classes)}"
            )
    if label_map is not None and (strange := sorted(set(mapping) - set(labels))):
        raise ValueError(f"label_map: the model has no label {strange[0]!r}, only {', '.join(labels)}")
    if label_map is not None and (strange := sorted(set(mapping.values()) - {*classes, *(evaluation_map or ())})):
        raise ValueError(f"label_map: {strange[0]!r} is not a class of the scheme, which has {', '.join(classes)}")
    silent = [name for name in classes if name not in mapping.values()]
    if silent and not evaluation_map:
        raise ValueError(
            f"the model has no label for {', '.join(silent)}: its labels are {', '.join(labels)}, the classes of the "
            f"scheme are {', '.join(classes)}. Use another scheme, map labels to classes (--label_map label=class,...) "
            "or let labels count as other classes (--evaluation_map boredom=neutral|calm,...)"
        )
    return answers, np.asarray([[float(mapping.get(label) == name) for name in answers] for label in labels])
