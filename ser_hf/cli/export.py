"""`ser-hf export`: a folder that classifies recordings without PyTorch and without this package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .corpora_verbs import CORPUS, Columns, Encoding, Labels

if TYPE_CHECKING:
    from datasets import Dataset

    from ..export.integers import Recordings
    from ..inference.classifier import Classifier


def export(
    model: Annotated[str, typer.Argument(help="Folder or Hub name of a trained classifier.")],
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    to: Annotated[str, typer.Option(help="onnx (runs with onnxruntime) or openvino.")] = "onnx",
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="Eight-bit integers, if the validation part of --corpus is recognised as well as before."
        ),
    ] = False,
    corpus: Annotated[str | None, typer.Option(help=f"What the model was trained on, for --int8. {CORPUS}")] = None,
    root: Annotated[Path | None, typer.Option(help="Its folder. Default: below $SER_HF_CORPORA.")] = None,
    columns: Columns = None,
    labels: Labels = None,
    encoding: Encoding = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", "--allow_partial", help="Accept an incomplete corpus.")
    ] = False,
) -> None:
    """Write a folder that classifies recordings without PyTorch: a graph from waveform to logits, and a script."""
    from ser_hf.cli.pairs import pairs
    from ser_hf.export.folder import export, refuse_export
    from ser_hf.inference.classifier import Classifier

    refuse_export(out, to, int8=int8)
    if int8 and corpus is None:
        raise ValueError("--int8 needs --corpus: the corpus that the model was trained on, for choosing and checking")
    classifier, recordings = Classifier.from_pretrained(model, device="cpu"), None
    if int8:
        recordings = recordings_for_integers(
            classifier, model, corpus, root, columns=pairs("columns", columns or (), "path=Datei"),
            labels=pairs("labels", labels or (), "Freude=happiness"), encoding=encoding, allow_partial=allow_partial,
        )  # fmt: skip
    measured = export(classifier.model, classifier.extractor, out, to, integers=recordings)
    if "difference" in measured:
        print(f"checked on noise: logits differ from those of PyTorch by at most {measured['difference']:.1g}")
    else:
        print(
            f"{measured['n']} validation recordings: UAR {measured['uar_float32']:.3f} before, "
            f"{measured['uar_int8']:.3f} in eight-bit integers; {measured['same_answers']:.1%} of the answers are equal"
        )
    megabytes = sum(file.stat().st_size for file in out.iterdir()) / 1e6
    print(f"{out}: {megabytes:.1f} MB; pip install -r {out}/requirements.txt, then python {out}/predict.py one.wav")


def recordings_for_integers(
    classifier: Classifier, model: str, corpus: str, root: Path | None, **options
) -> Recordings:
    """Return training recordings to choose integers on, and validation recordings to check them on.

    Raises:
        ValueError: if the model was not trained on the corpus, or without validation part.
    """
    import numpy as np

    from ser_hf import load_corpus
    from ser_hf.corpora import name_and_place
    from ser_hf.export.integers import CALIBRATED_ON, Recordings
    from ser_hf.splits.ledger import Ledger
    from ser_hf.splits.split import split_each

    ledger = Ledger.of_model(model)
    known = ledger and ledger.protocol_of(name_and_place(corpus)[0])
    if not known:
        raise ValueError(f"{model} was not trained on {corpus}: --int8 needs the recordings of its training")
    dataset = load_corpus(corpus, root, ledger.trainings[-1].scheme, own_classes=classifier.labels, **options)
    parts, _ = split_each(dataset, [known[0]], known[1])
    if not len(parts["validation"]):
        raise ValueError(f"{model} was trained with {known[0]}, without validation part: export the model of a fold")
    chosen = np.linspace(0, len(parts["train"]) - 1, CALIBRATED_ON).round().astype(int)
    return Recordings(
        _waveforms(classifier, parts["train"].select(np.unique(chosen))),
        _waveforms(classifier, parts["validation"]),
        np.asarray(parts["validation"]["label"]),
    )


def _waveforms(classifier: Classifier, rows: Dataset) -> Sequence:
    from ser_hf.audio import read_audio

    rate = classifier.extractor.sampling_rate
    return [read_audio(audio, sampling_rate=rate, allow_truncated=True) for audio in rows["audio"]]
