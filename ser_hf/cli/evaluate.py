"""`ser-hf evaluate`: any classifier on any corpus, on what it has not heard, clean and disturbed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.dataset import load_corpus
from ..data.disturb import STANDARD, disturb, parse_condition
from ..data.ledger import Ledger
from ..data.precompute import hash_audio
from ..data.splits import Protocol, protocols, split_each
from ..inference.engine import Classifier
from ..inference.evaluate import assign_classes, evaluate

if TYPE_CHECKING:
    from ..evaluation.tables import PredictionTable


def evaluate_model(
    model: str,
    corpus: str,
    root: Path | None = None,
    *,
    scheme: str | None = None,
    label_source: str | None = None,
    label_map: Sequence[str] = (),
    protocol: str | None = None,
    fold: int | None = None,
    conditions: Sequence[str] = (),
    allow_partial: bool = False,
    trust_remote_code: bool = False,
) -> list[PredictionTable]:
    """The prediction tables of a model on a corpus: of the recordings as they are, and under each condition.

    The model's ledger says what it was trained on. Of a corpus that it knows the test part of its own fold is taken, of
    any other all utterances. Models of other people have no ledger: the report says that nobody knows what they heard.

    Args:
        label_map: words such as "hap=happiness": which label of the model is which class.
        protocol, fold: another division than that of the ledger.
        conditions: of `data.disturb`, such as "noise:10"; "standard" stands for all of its standard ones.

    Raises:
        LedgerError: if the test part holds a speaker or a recording that the model was trained or validated on.
    """
    conditions = [one for word in conditions for one in (STANDARD if word == "standard" else [word])]
    for condition in conditions:
        parse_condition(condition)
    ledger = Ledger.of_model(model)
    if scheme is None and ledger is not None:
        scheme = ledger.trainings[-1].scheme
    dataset = load_corpus(corpus, root, scheme, label_source=label_source, allow_partial=allow_partial)
    classifier = Classifier.from_pretrained(model, trust_remote_code=trust_remote_code)
    mapping = _parse(label_map)
    assign_classes(classifier.labels, dataset.features["label"].names, mapping)  # told before an hour of scoring

    known = ledger.protocol_of(corpus) if ledger is not None else None
    if known is not None and protocol in (None, known[0]):  # what is not asked for is as the model was trained
        protocol, fold = known[0], known[1] if fold is None else fold
    if protocol is None and fold is not None:
        raise ValueError(f"fold {fold} of which protocol? Name one: {', '.join(protocols(corpus))}")
    if protocol is None:
        test, division = dataset, Protocol(f"{corpus}/all", "every utterance of the corpus")
    else:
        parts, division = split_each(dataset, [protocol], fold or 0)
        test = parts["test"]
    if ledger is not None:
        test = hash_audio(test)
        ledger.refuse_heard(test, speakers=division.is_speaker_independent)
    else:
        division = Protocol(division.name, division.rule, is_speaker_independent=False)
    judge = partial(
        evaluate,
        classifier.model,
        classifier.extractor,
        protocol=division,
        fold=fold or 0,
        seed=0 if ledger is None else ledger.trainings[-1].seed,
        model_name=model if not Path(model).is_dir() else Path(model).resolve().name,
        label_map=mapping,
        speaker_knowledge="unknown" if ledger is None else "blind",
        trained_on=() if ledger is None else ledger.corpora,
    )
    return [judge(test), *(judge(disturb(test, condition)) for condition in conditions)]


def _parse(label_map: Sequence[str]) -> dict[str, str] | None:
    words = [word for argument in label_map for word in argument.split(",")]
    if malformed := [word for word in words if "=" not in word]:
        raise ValueError(f"label_map: {malformed[0]!r} is not of the form label=class")
    return dict(word.split("=", 1) for word in words) or None
