"""The audit of a run: its predictions against the ledger of its model."""

from __future__ import annotations

from collections.abc import Mapping

import pandas

from ..splits.ledger import Ledger
from ..splits.protocol import REFIT, Protocol
from ..splits.relation import Adaptation, Relation
from .audit import some
from .finding import Finding


def audit_run(
    rows: pandas.DataFrame,
    ledger: Ledger,
    *,
    hashes: Mapping[str, str] | None = None,
    validation: pandas.DataFrame | None = None,
    relation: str = Relation.HELD_OUT,
    adaptation: str = Adaptation.NONE,
    protocol: str = "",
    part: str = "test",
    refit: bool = False,
) -> list[Finding]:
    """Return the faults of a run: its predictions are compared with the ledger of its model.

    Args:
        rows: rows of a prediction table.
        ledger: ledger of the model; an empty one if it has none.
        hashes: `sample_hash` by utterance; None if the recordings are not available.
        validation: rows of the table of validation predictions.
        relation, adaptation, protocol, part: as in the table's metadata.
        refit: True if the options of the run (`run.yaml`) train on the validation speakers.
    """
    findings = []
    if part != "test":
        findings.append(
            Finding(
                "selection-on-test", "error",
                f"these are predictions for the {part} part, on which the model was chosen, not for a test part",
                {"part": part}, "predict speakers who are in no other part",
            )
        )  # fmt: skip
    if refit and REFIT not in Protocol.parse(protocol).suffixes:
        findings.append(
            Finding(
                "refit-not-told", "error",
                f"the run has the option refit, so it was trained on its validation speakers, but its protocol is "
                f"called {protocol}: it would be ranked with models that were trained on fewer speakers",
                {"protocol": protocol}, f"call it {Protocol.parse(protocol).changed(REFIT, '')}: run its recipe again",
            )
        )  # fmt: skip
    trainings, unknown = ledger.trainings, ledger.unknown
    if not trainings:
        findings.append(
            Finding(
                "no-ledger", "warning", "the model has no ledger, or an empty one: its training data is unknown", {},
                "train with a recipe of ser_hf, or audit the division as a table",
            )
        )  # fmt: skip
    if unknown or (trainings and relation == Relation.UNKNOWN):
        whose = f"the teacher {some(unknown)}" if unknown else "the model"
        findings.append(
            Finding(
                "unknown-training", "warning",
                f"the training data of {whose} is unknown: it may contain the test speakers",
                {"teachers": list(unknown)[:20]},
                "use a teacher with a ledger, or report that the training data is unknown",
            )
        )  # fmt: skip
    speakers, sounds = set(rows["speaker"].dropna()), hashes or {}
    corpora = {corpus for training in trainings for corpus in training.corpora}
    nameless = rows[rows["speaker"].isna() & rows["utterance_id"].map(lambda name: name.partition("/")[0] in corpora)]
    if relation == Relation.HELD_OUT and len(nameless):
        findings.append(
            Finding(
                "unknown-speaker", "error",
                f"{len(nameless)} of {len(rows)} test rows have no speaker, and the model was trained on their corpus, "
                "so it may have been trained on these speakers",
                {"rows": len(nameless)}, "add the speakers, or do not call the run speaker-independent",
            )
        )  # fmt: skip
    both = set() if trainings or validation is None else speakers & set(validation["speaker"].dropna())
    if both and relation == Relation.HELD_OUT:
        findings.append(
            Finding(
                "speaker-in-two-parts", "error",
                f"{len(both)} of the {len(speakers)} test speakers are in the validation part too: "
                f"{some(sorted(both))}",
                {"part": "validation", "speakers": sorted(both)[:20], "count": len(both)},
                "validate on speakers who are in no other part",
            )
        )  # fmt: skip
    for training in trainings:
        name = training.name
        for own_part, members in training.speakers.items():
            if shared := sorted(speakers & set(members)):
                findings.append(
                    Finding(
                        "speaker-in-two-parts", "error" if relation == Relation.HELD_OUT else "note",
                        f"{len(shared)} of the {len(speakers)} test speakers were in the {own_part} part of {name}: "
                        f"{some(shared)}",
                        {"part": own_part, "speakers": shared[:20], "count": len(shared)},
                        "test on a fold that the model was not trained on",
                    )
                )  # fmt: skip
        for own_part, members in training.audio.items():
            if shared := sorted(one for one in set(rows["utterance_id"]) if sounds.get(one) in set(members)):
                findings.append(
                    Finding(
                        "same-audio", "error",
                        f"{len(shared)} of the {rows['utterance_id'].nunique()} test recordings were in the "
                        f"{own_part} part of {name}: {some(shared)}",
                        {"part": own_part, "examples": shared[:5], "count": len(shared)},
                        "remove them from the test part, and predict again",
                    )
                )  # fmt: skip
    if validation is not None and (shared := sorted(set(validation["utterance_id"]) & set(rows["utterance_id"]))):
        same = len(shared) in (validation["utterance_id"].nunique(), rows["utterance_id"].nunique())
        findings.append(
            Finding(
                "selection-on-test" if same else "validation-overlaps-test", "error",
                f"{len(shared)} test recordings are in the validation part too: {some(shared)}",
                {"count": len(shared)}, "validate on speakers who are in no other part",
            )
        )  # fmt: skip
    if adaptation != Adaptation.NONE:
        findings.append(
            Finding(
                "statistics-on-test", "note",
                f"the model adapts to unlabelled recordings of test speakers, and the report says so: {adaptation}", {},
                "compare it only with runs that do the same",
            )
        )  # fmt: skip
    if hashes is None:
        findings.append(Finding("not-compared", "note", "the recordings were not compared", {}, "pass --root"))
    return findings
