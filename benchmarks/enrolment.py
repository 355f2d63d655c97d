"""Curves of adaptation: UAR by the number of enrolled utterances, at random and of one or two emotions.

    SER_HF_CORPORA=/path/to/corpora python benchmarks/enrolment.py runs/ravdess_lda docs/speakers/ravdess

The first word is a run of `recipes/train_lda.py` over all folds. The model of each fold scores its test speakers, with
utterances of the speaker enrolled that are not scored, ten draws each; of all but one, each one is scored once. Labels
only choose which emotion is enrolled.
Writes a `.json` and a `.png`. *plain* is the mean without the correction for the enrolled emotions.
"""

import json
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np

from ser_hf import load_corpus, precompute
from ser_hf.evaluation.intervals import confusion_by_speaker, paired_difference, speaker_interval, utterance_weights
from ser_hf.evaluation.metrics import uar_of
from ser_hf.files import fold_folder, write_whole
from ser_hf.inference.adaptation import DRAWS
from ser_hf.inference.classifier import Classifier
from ser_hf.inference.heads import SpeakerLogits
from ser_hf.inference.offsets import OffsetRule
from ser_hf.inference.predict import predict
from ser_hf.report.figures import in_default_style, new_figure, save_figure
from ser_hf.report.runs import read_test_table

COUNTS = (0, 1, 2, 3, 5, 10, 20, "all")
KINDS = ("random", "neutral", "calm", "one emotion", "two emotions")


def enrolments(labels, classes, speaker, draw):
    """Yield kind, count and positions of enrolled utterances of a speaker; at least one utterance is left to score.

    Of all utterances at random each one is left to score once: single ones that are drawn would be too few to judge.
    """
    if draw == 0:
        yield from (("random", "all", np.delete(np.arange(len(labels)), one)) for one in range(len(labels)))
    random = np.random.default_rng([crc32(speaker.encode()), draw])  # not alike for the speakers of different folds
    order, chosen = random.permutation(len(labels)), random.permutation(np.unique(labels))
    among = {"random": chosen, "one emotion": chosen[:1], "two emotions": chosen[:2]}
    among |= {name: [classes.index(name)] for name in ("neutral", "calm") if name in classes}
    for kind, enrolled in among.items():
        possible = order[np.isin(labels[order], enrolled)]
        most = min(len(possible), len(labels) - 1)
        for count in COUNTS:
            number = most if count == "all" else count
            if number <= most and (number or kind == "random") and (kind, count) != ("random", "all"):
                yield kind, count, possible[:number]


def answers_of(run):
    """Return the answers with each enrolment: {(kind, count): {rule: [(utterance, speaker, label, answer), ...]}}."""
    table = read_test_table(run)
    (corpus,) = table.rows["corpus"].unique()
    dataset = load_corpus(corpus, scheme=table.metadata.scheme, allow_partial=bool(table.metadata.partial))
    classes, found = dataset.features["label"].names, defaultdict(lambda: defaultdict(list))
    for fold in sorted(table.rows["fold"].unique()):
        classifier = Classifier.from_pretrained(fold_folder(run, fold))
        cached = precompute(dataset, classifier.model, classifier.extractor, frozen=True)  # once for all folds
        names = set(table.rows.loc[table.rows["fold"] == fold, "utterance_id"])
        rows = cached.select([row for row, name in enumerate(dataset["utterance_id"]) if name in names])
        logits, centred = np.split(predict(SpeakerLogits(classifier.model, classifier.extractor), rows), 2, axis=1)
        rule, labels = OffsetRule.of(classifier.model), np.asarray(rows["label"])
        rules = {"none": None, "adapted": rule, "plain": replace(rule, even_share=1.0)}
        speakers, names = np.asarray(rows["speaker"]), np.asarray(rows["utterance_id"])
        for speaker in np.unique(speakers):
            own = np.flatnonzero(speakers == speaker)
            for draw in range(DRAWS):
                for kind, count, enrolled in enrolments(labels[own], classes, speaker, draw):
                    scored = np.delete(own, enrolled)
                    for name, one in rules.items():
                        answers = logits[scored]
                        if one is not None:
                            known = own[enrolled]
                            offset = one.offset(logits[known], centred[known])
                            answers = one.adapted(logits[scored], centred[scored], offset, len(known))
                        told = (names[scored], speakers[scored], labels[scored], answers.argmax(axis=1))
                        found[kind, count][name].append(told)
    return found, {"corpus": corpus, "protocol": table.metadata.protocol, "scheme": table.metadata.scheme}


def judged(answers):
    """Return the UAR of each rule with its interval, and its difference from none, paired over speakers."""
    confusions, rates = {}, {}
    for name, parts in answers.items():
        utterances, speakers, labels, told = map(np.concatenate, zip(*parts, strict=True))
        weights = utterance_weights(utterances, len(utterances))
        confusions[name] = confusion_by_speaker(labels, told, speakers, weights=weights, num_classes=labels.max() + 1)
        interval = speaker_interval(uar_of, labels, told, speakers, utterances=utterances)
        rates[name] = {"uar": uar_of(confusions[name].sum(axis=0)), "interval": interval}
    for name in ("adapted", "plain"):
        gain, interval = paired_difference(uar_of, confusions[name], confusions["none"])
        rates[name] |= {"gain": gain, "gain_interval": interval}
    return {"n": len(np.unique(utterances)), "speakers": len(np.unique(speakers)), **rates}


@in_default_style
def figure_of(curves, corpus):
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in curves)]
    figure = new_figure(2.6 * len(kinds), 2.8)
    for place, (kind, axes) in enumerate(zip(kinds, figure.subplots(1, len(kinds), sharey=True), strict=True)):
        rows = [row for row in curves if row["kind"] in (kind, "random") and (row["kind"] == kind or row["k"] == 0)]
        ticks = [str(row["k"]) for row in rows]
        for name, colour in (("none", "0.5"), ("plain", "tab:orange"), ("adapted", "tab:blue")):
            axes.plot(ticks, [row[name]["uar"] for row in rows], "o-", color=colour, label=name, markersize=3)
        axes.set_title(kind, fontsize="medium")
        axes.grid(axis="y", color="0.9")
        axes.set_xlabel("enrolled utterances")
        if not place:
            axes.set_ylabel(f"UAR, {corpus}")
            axes.legend(frameon=False, fontsize="small")
    return figure


def main():
    run, out = map(Path, sys.argv[1:])
    found, facts = answers_of(run)
    wanted = [(kind, count) for kind in KINDS for count in COUNTS if (kind, count) in found]
    curves = [{"kind": kind, "k": count, **judged(found[kind, count])} for kind, count in wanted]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out.with_suffix(".json"), json.dumps({**facts, "draws": DRAWS, "curves": curves}) + "\n")
    save_figure(figure_of(curves, facts["corpus"]), out.with_suffix(".png"))
    for row in curves:
        adapted = row["adapted"]
        print(
            f"{facts['corpus']} {row['kind']}, k = {row['k']}, n = {row['n']} of {row['speakers']} speakers: none "
            f"{row['none']['uar']:.3f}, adapted {adapted['uar']:.3f} ({adapted['gain']:+.3f}), plain mean "
            f"{row['plain']['uar']:.3f}"
        )


if __name__ == "__main__":
    main()
