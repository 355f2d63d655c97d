"""`ser-hf report`: the report of a run, made again from its predictions, without model and recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import soundfile

from ..audio import read_audio
from ..corpora import is_published, known_corpus
from ..data.dataset import build_dataset
from ..files import OPTIONS
from ..options import read_options
from ..report.report import EvaluationReport
from ..report.runs import RunTables
from ..sources.reading import Translation

CLIP_RATE = 16_000  # Hz


def report_runs(
    runs: Sequence[Path],
    out: Path | None = None,
    *,
    roots: Mapping[str, Path] | None = None,
    by: Sequence[str] = (),
) -> EvaluationReport:
    """Write the report of a run folder or a prediction table again, and return it.

    Args:
        runs: folders with `predictions.parquet`, or such files; several are pooled, such as the seeds of one model.
        out: folder to write to; default, for one run: beside the predictions.
        roots: folders of corpora, {corpus: folder}; the page then plays recordings.
        by: columns of the tables whose groups are compared, in addition to gender, age band and language.

    Raises:
        ValueError: for several runs without `out`.
        FileNotFoundError, TableError, CorpusError: as `RunTables.read`, `RunTables.pool` and `clips_of`.
    """
    if out is None and len(runs) > 1:
        raise ValueError("several runs are pooled into a new report: pass its folder as --out FOLDER")
    pooled = RunTables.pool([RunTables.read(run) for run in runs])
    report = pooled.report(by)
    clips = clips_of(report, roots, _translation(runs[0])) if roots else {}
    report.write(out or (runs[0] if runs[0].is_dir() else runs[0].parent), clips)
    if out is not None:
        pooled.write(out)
    return report


def _translation(run: Path) -> Translation:
    """Return the translation of own recordings in the options of a run."""
    file = (run if run.is_dir() else run.parent) / OPTIONS
    options = read_options(file) if file.is_file() else {}
    columns, labels = (dict(word.split("=", 1) for word in options.get(name, ())) for name in ("columns", "labels"))
    return Translation(columns, labels, options.get("encoding"), options.get("votes", False))


def clips_of(
    report: EvaluationReport, roots: Mapping[str, Path], translation: Translation | None = None
) -> dict[str, bytes]:
    """Return the recordings of the worst confusions as FLAC files, by utterance id.

    Args:
        roots: folders, or tables of own recordings.
        translation: of own recordings.

    Raises:
        CorpusError: if a corpus is not found.
        ValueError: if a corpus does not have the kind of labels of the report.
    """
    wanted = {row["example"] for row in report.worst_confusions}
    dataset = build_dataset(
        [f"{name}={folder}" for name, folder in roots.items()],
        None,
        report.scheme,
        label_sources=_sources(report, roots),
        allow_partial=True,
        allow_truncated=True,
        skip_unusable=True,  # what a run may have left out
        translation=None if all(map(is_published, roots)) else translation,
    )
    rows = [row for row, name in enumerate(dataset["utterance_id"]) if name in wanted]
    clips = {}
    for row in dataset.select(rows):
        file = BytesIO()
        waveform = read_audio(row["audio"], sampling_rate=CLIP_RATE, allow_truncated=True)
        soundfile.write(file, waveform, CLIP_RATE, format="FLAC")
        clips[row["utterance_id"]] = file.getvalue()
    return clips


def _sources(report: EvaluationReport, roots: Mapping[str, Path]) -> dict[str, str]:
    """Return the kind of labels to read for each corpus that has several: that of the report."""
    several = {corpus: spec.label_sources if (spec := known_corpus(corpus)) else () for corpus in roots}
    chosen = {corpus: [one for one in sources if one in report.label_source] for corpus, sources in several.items()}
    for corpus, sources in several.items():
        if sources and not chosen[corpus]:
            raise ValueError(
                f"--roots {corpus}=...: the report uses {', '.join(report.label_source) or 'unknown'} labels, but "
                f"{corpus} has {', '.join(sources)}: pass only corpora of the report, {', '.join(report.corpora)}"
            )
    return {corpus: sources[0] for corpus, sources in chosen.items() if sources}
