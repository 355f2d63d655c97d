"""The audit of a run: its predictions against the ledger of its model."""

from __future__ import annotations

from collections.abc import Mapping

import pandas

from ..splits.ledger import Ledger
from ..splits.protocol import REFIT, Protocol
from .audit import some
from .finding import Finding


def audit_run(
    rows: pandas.DataFrame,
    ledger: Ledger,
    *,
    hashes: Mapping[str, str] | None = None,
    validation: pandas.DataFrame | None = None,
    speaker_independent: bool = True,
    speaker_knowledge: str = "blind",
    protocol: str = "",
    part: str = "test",
    refit: bool = False,
) -> list[Finding]:
    """What is wrong with a run: its predictions against the ledger of its model.

    Args:
        rows: of a prediction table.
        ledger: of the model; without a training if it has none.
        hashes: `sample_hash` by utterance; None if the recordings are not at hand.
        validation: rows of the table of validation predictions.
        speaker_independent, speaker_knowledge, protocol, part: as the table's metadata say.
        refit: whether the options of the run (`run.yaml`) let the validation speakers train.
    """
    findings = []
    if part != "test":
        findings.append(
            Finding(
                "selection-on-test", "error",
                f"these are the predictions of the {part} part, on which the model was chosen: no test", {"part": part},
                "predict speakers that neither train nor validate",
            )
        )  # fmt: skip
    trainings, unknown = ledger.trainings, ledger.unknown
    if refit and REFIT not in Protocol.parse(protocol).suffixes:
        findings.append(
            Finding(
                "refit-not-told", "error",
                f"the options of the run say refit, so its validation speakers trained, but its protocol is called "
                f"{protocol}: it would be ranked with models that learned from fewer people",
                {"protocol": protocol}, f"call it {protocol}+refit: run its recipe again",
            )
        )  # fmt: skip
    if not trainings:
        findings.append(
            Finding(
                "no-ledger", "warning", "the model has no ledger, or an empty one, so nobody knows whom it heard", {},
                "train with a recipe of ser_hf, or audit the division as a table",
            )
        )  # fmt: skip
    if unknown or (trainings and speaker_knowledge == "unknown"):
        taught = f"what {some(unknown)} heard, which taught the model" if unknown else "what the model heard"
        findings.append(
            Finding(
                "unknown-training", "warning",
                f"nobody knows {taught}: the test speakers may have been among it", {"teachers": list(unknown)[:20]},
                "be taught by a model with a ledger, or say that the training data is unknown",
            )
        )  # fmt: skip
    speakers, heard = set(rows["speaker"].dropna()), hashes or {}
    corpora = {corpus for training in trainings for corpus in training.corpora}
    nameless = rows[rows["speaker"].isna() & rows["utterance_id"].map(lambda name: name.partition("/")[0] in corpora)]
    if speaker_independent and len(nameless):
        findings.append(
            Finding(
                "unknown-speaker", "error",
                f"{len(nameless)} of {len(rows)} test rows have no speaker, and the model has heard their corpus, so "
                "nobody can say that it has not heard the speakers",
                {"rows": len(nameless)}, "add the speakers, or do not call the run speaker-independent",
            )
        )  # fmt: skip
    both = set() if trainings or validation is None else speakers & set(validation["speaker"].dropna())
    if both and speaker_independent:
        findings.append(
            Finding(
                "speaker-in-two-parts", "error",
                f"{len(both)} of the {len(speakers)} test speakers validate as well: {some(sorted(both))}",
                {"part": "validation", "speakers": sorted(both)[:20], "count": len(both)},
                "validate on speakers that neither train nor test",
            )
        )  # fmt: skip
    for training in trainings:
        name = training.name
        for part, members in training.speakers.items():
            if shared := sorted(speakers & set(members)):
                findings.append(
                    Finding(
                        "speaker-in-two-parts", "error" if speaker_independent else "note",
                        f"{len(shared)} of the {len(speakers)} test speakers were in the {part} part of {name}: "
                        f"{some(shared)}",
                        {"part": part, "speakers": shared[:20], "count": len(shared)},
                        "take a fold that the model was not trained on",
                    )
                )  # fmt: skip
        for part, members in training.audio.items():
            if shared := sorted(one for one in set(rows["utterance_id"]) if heard.get(one) in set(members)):
                findings.append(
                    Finding(
                        "same-audio", "error",
                        f"{len(shared)} of the {rows['utterance_id'].nunique()} test recordings were in the {part} "
                        f"part of {name}: {some(shared)}",
                        {"part": part, "examples": shared[:5], "count": len(shared)},
                        "take them out of the test part, and predict again",
                    )
                )  # fmt: skip
    if validation is not None and (shared := sorted(set(validation["utterance_id"]) & set(rows["utterance_id"]))):
        same = len(shared) in (validation["utterance_id"].nunique(), rows["utterance_id"].nunique())
        findings.append(
            Finding(
                "selection-on-test" if same else "validation-overlaps-test", "error",
                f"{len(shared)} test recordings validate as well: {some(shared)}", {"count": len(shared)},
                "validate on speakers that neither train nor test",
            )
        )  # fmt: skip
    if "standardised" in speaker_knowledge:
        findings.append(
            Finding(
                "statistics-on-test", "note", f"the report must say, and does: {speaker_knowledge}", {},
                "compare it with runs that do the same",
            )
        )  # fmt: skip
    if hashes is None:
        findings.append(Finding("not-heard", "note", "the recordings were not compared", {}, "pass --root"))
    return findings
