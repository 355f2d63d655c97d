"""`ser-hf evaluate`: evaluation of any classifier on unseen data of any corpus, clean and disturbed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..augmentation.conditions import STANDARD, canonical_condition
from ..corpora import is_published, known_corpus, name_and_place
from ..data.columns import values_of
from ..data.dataset import load_corpus
from ..data.disturb import disturb
from ..data.precompute import hash_audio, precompute
from ..emotions import OWN_SCHEME, EvaluationMap
from ..evaluation.tables import PredictionTable
from ..files import CONFIG, TEST, VALIDATION, fold_folder, fold_folders, fold_of
from ..inference.classifier import Classifier
from ..inference.evaluate import assign_classes, evaluate
from ..models.checkpoint_files import refuse_unfit_files
from ..models.checkpoint_settings import refuse_values
from ..report.runs import RunTables
from ..splits.ledger import Ledger
from ..splits.protocol import REFIT, TRAINED_ON_VALIDATION, Protocol
from ..splits.relation import Adaptation, Relation
from ..splits.split import protocols, split_each
from .pairs import pairs

MADE_ALIKE = ("protocol", "scheme", "classes")


def evaluate_model(
    model: str,
    corpus: str,
    root: Path | None = None,
    *,
    scheme: str | None = None,
    label_source: str | None = None,
    label_map: Sequence[str] = (),
    evaluation_map: Sequence[str] = (),
    protocol: str | None = None,
    fold: int | None = None,
    conditions: Sequence[str] = (),
    adaptations: Sequence[str] = (),
    allow_partial: bool = False,
    allow_truncated: bool = False,
    skip_unusable: bool = False,
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    encoding: str | None = None,
    votes: bool = False,
    speakers_are_new: bool = False,
    emobox_root: Path | None = None,
    trust_remote_code: bool = False,
) -> RunTables:
    """Return the prediction tables of a model on a corpus: of the clean recordings, and under each condition.

    If the protocol is the same, the table of validation speakers in the model's run folder is included, so that
    thresholds can be fitted on them.

    The model's ledger names its training data. The model is evaluated on the test part of its own fold for a corpus of
    its training, and on all utterances of any other corpus. If a run has several folds, the model of `fold` (default 0)
    is evaluated; `evaluate_folds` evaluates each model on its own test speakers. Models of other people, and models
    that they taught, have unknown training data, and the report says so.

    Recordings are compared with those of the ledger, also with re-encoded, trimmed or louder copies of them. Speakers
    of other corpora count as held out if their corpora declare so (`CorpusSpec.own_speakers`); those of your own
    recordings are unknown, since a name is no person, unless you declare them new.

    Args:
        corpus: name of a corpus, or your own recordings as `name=place`.
        label_map: words such as "hap=happiness": the class of a label of the model.
        evaluation_map: words such as "boredom=neutral|calm": other classes for which a label of the model counts as
            correct. The default scheme is then the one that keeps every utterance of the corpus.
        protocol, fold: another division than that of the ledger.
        allow_partial, allow_truncated, skip_unusable: as in `build_dataset`.
        columns, labels, encoding, votes: of your own recordings: words such as "path=Datei" and "Freude=happiness".
        speakers_are_new: your word that the model knows none of these speakers; the report says that it is yours.
        emobox_root: a checkout of https://github.com/emo-box/EmoBox, for the protocols <corpus>/emobox.
        adaptations: of `splits.relation.Adaptation`: the first one gives the table of the test speakers, and all are
            compared with "none" in the report.
        conditions: of `augmentation.conditions`, such as "noise:10"; "standard" stands for all standard ones.

    Raises:
        LedgerError: if the model was trained or validated on a speaker or a recording of the test part, or on a copy.
        CorpusError: as `load_corpus`.
        ValueError: for an unknown condition, class, protocol or fold, or if all of the corpus was trained on.
    """
    wanted = [one for word in conditions for one in (STANDARD if word == "standard" else [word])]
    conditions = list(dict.fromkeys(map(canonical_condition, wanted)))
    adaptations = list(dict.fromkeys(map(Adaptation.check, adaptations)))
    if conditions and adaptations:
        raise ValueError("--conditions and --adaptation answer two questions: evaluate once for each")
    model, fold = _one_model(model, fold)
    refuse_unfit_files(model)
    ledger = Ledger.of_model(model)
    judged_as = EvaluationMap.parse(evaluation_map)
    if scheme is None and ledger is not None and ledger.trainings and not evaluation_map:
        scheme = ledger.trainings[-1].scheme
    classifier = Classifier.from_pretrained(model, trust_remote_code=trust_remote_code)
    refuse_values(model, classifier.model.config)
    mapping = pairs("label_map", label_map, "label=class") or None
    dataset = load_corpus(
        corpus, root, scheme, label_source=label_source, allow_partial=allow_partial, allow_truncated=allow_truncated,
        skip_unusable=skip_unusable, columns=pairs("columns", columns, "path=Datei"),
        labels=pairs("labels", labels, "Freude=happiness"), encoding=encoding, votes=votes,
        own_classes=classifier.labels if scheme == OWN_SCHEME and mapping is None else (),
    )  # fmt: skip
    (corpus,) = values_of(dataset, "corpus")
    names = dataset.features["label"].names
    assign_classes(classifier.labels, names, mapping, judged_as.counts_as)  # raises before an hour of scoring

    known = ledger.protocol_of(corpus) if ledger is not None else None
    if known is not None and protocol in (None, known[0]):  # defaults are those of the training
        protocol, fold = known[0], known[1] if fold is None else fold
    if protocol is not None and Protocol.parse(protocol).is_final and known is None:
        protocol = None  # all of it, and nothing of it was trained on
    if protocol is None and fold is not None:
        raise ValueError(f"--fold {fold} needs --protocol: one of {', '.join(protocols(dataset))}")
    if protocol is None:
        test, division = dataset, Protocol((corpus,), ("all",), description="every utterance of the corpus")
    else:
        if Protocol.parse(protocol).is_final:
            raise ValueError(
                f"{model} was trained on all of {corpus}, so nothing of it is left to evaluate on: its report has the "
                "figures of its cross-validation; pass other recordings"
            )
        parts, division = split_each(dataset, [protocol], fold or 0, emobox_root=emobox_root)
        test = parts["test"]
        if known is not None and protocol == known[0] and ledger.trainings[-1].is_refitted:
            division = division.changed(REFIT, TRAINED_ON_VALIDATION)
    test = hash_audio(test)  # decodes each recording once, so that a damaged one is told now
    if ledger is not None:
        ledger.refuse_seen(test, speakers=division.is_speaker_independent or speakers_are_new)
        if division.is_speaker_independent:
            ledger.refuse_copies(test)
    judge = partial(
        evaluate,
        classifier.model,
        classifier.extractor,
        fold=fold or 0,
        seed=ledger.trainings[-1].seed if ledger is not None and ledger.trainings else 0,
        model_name=_name(model, is_own_protocol=known is not None and protocol == known[0]),
        label_map=mapping,
        evaluation_map=judged_as.counts_as,
        protocol=division,
        relation=Relation.HELD_OUT if speakers_are_new else _relation(ledger, division),
        declared_new=speakers_are_new,
        trained_on=() if ledger is None else ledger.corpora,
    )
    if adaptations:
        test = precompute(test, classifier.model, classifier.extractor, frozen=True)
        adapted = {name: judge(test, adaptation=name) for name in dict.fromkeys([Adaptation.NONE.value, *adaptations])}
        return RunTables(adapted[adaptations[0]], adapted=list(adapted.values()))
    table = judge(test)
    return RunTables(table, _validation(model, table), [judge(disturb(test, one)) for one in conditions])


def _relation(ledger: Ledger | None, division: Protocol) -> Relation:
    """Return what is known of the part that the speakers of a division had in the training of a model."""
    if ledger is None or not ledger.trainings:
        return Relation.UNKNOWN
    (corpus,) = division.corpora
    if corpus in ledger.corpora:  # its own test part
        return ledger.relation(division)
    there = known_corpus(corpus)
    apart = there is not None and there.own_speakers and all(map(is_published, ledger.corpora))
    return ledger.relation(division) if apart else Relation.UNKNOWN


def evaluate_folds(run: str, corpus: str, root: Path | None = None, **options: Any) -> RunTables:
    """Evaluate the models of all folds of a run, each on its own test speakers, and pool the tables.

    Args:
        run: folder of a run over several folds.
        options: options of `evaluate_model`, except `protocol` and `fold`.

    Raises:
        ValueError: if the run has no folds, or its protocol does not divide this corpus.
    """
    folders = fold_folders(run, CONFIG)
    if not folders:
        raise ValueError(f"{run} has no folders fold0, fold1, ...: leave --fold -1 out")
    ledger = Ledger.of_model(str(folders[0]))
    if ledger is None or ledger.protocol_of(name_and_place(corpus)[0]) is None:
        raise ValueError(
            f"--fold -1 needs a corpus that {run} was trained on, not {corpus}: pass --fold 0 to evaluate the model of "
            "one fold on all of it"
        )
    return RunTables.pool([evaluate_model(str(folder), corpus, root, **options) for folder in folders])


def _validation(model: str, table: PredictionTable) -> PredictionTable | None:
    """Return the validation table beside a model if protocol, scheme, classes, fold and seed are those of a test table.

    Thresholds that were fitted on the validation speakers of one corpus are not valid for another.
    """
    if not all(Path(model, name).is_file() for name in (TEST, VALIDATION)):  # a run without the former is not finished
        return None
    found = PredictionTable.read(Path(model, VALIDATION))
    ours, theirs = ({name: getattr(one.metadata, name) for name in MADE_ALIKE} for one in (table, found))
    models, validated = (set(zip(one.rows["fold"], one.rows["seed"], strict=True)) for one in (table, found))
    if ours != theirs or not models <= validated:
        return None
    # It is the same model, but the training may have used the name of the base model.
    return PredictionTable(found.rows, replace(found.metadata, model=table.metadata.model))


def _one_model(model: str, fold: int | None) -> tuple[str, int | None]:
    """Return the model of one fold if a run has several, and the fold that is still to be applied."""
    folds = fold_folders(model, CONFIG)
    if not folds or Path(model, CONFIG).is_file():
        return model, fold
    chosen = fold_folder(model, fold or 0)
    if chosen not in folds:
        raise ValueError(f"{model} has no model of fold {fold or 0}, only {', '.join(one.name for one in folds)}")
    return str(chosen), None


def _name(model: str, *, is_own_protocol: bool) -> str:
    """Return the name of a model in the report: its run, with the fold if it was not trained with this protocol."""
    if not Path(model).is_dir():
        return model
    folder = Path(model).resolve()
    if fold_of(folder) is None:
        return folder.name
    return folder.parent.name if is_own_protocol else f"{folder.parent.name}/{folder.name}"
