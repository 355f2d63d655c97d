"""`ser-hf`: short verbs over the library's functions. Starts without importing torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ser_hf import __version__
from ser_hf.cli.corpora_verbs import (
    CORPUS,
    Columns,
    Encoding,
    Json,
    Labels,
    LabelSource,
    Truncated,
    TrustRemoteCode,
    Votes,
    corpora_app,
    to_json,
)
from ser_hf.cli.export import export
from ser_hf.cli.predict_verbs import enrol, predict
from ser_hf.evaluation.metrics import METRICS
from ser_hf.extras import MissingPackageError, naming_extra
from ser_hf.files import in_words
from ser_hf.options import refuse_misspelt

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(corpora_app, name="corpora", help="List every corpus, show what is in one, or download it.")
app.command()(export)
app.command()(predict)
app.command()(enrol)


@contextmanager
def _exit_on_error(code: int) -> Iterator[None]:
    """Print an error as one line on stderr and exit with this code, or with that of an `OptionError`."""
    try:
        yield
    except (ValueError, OSError, MissingPackageError) as error:  # CorpusError, ModelError and others are ValueErrors
        print(f"ser-hf: {in_words(error)}", file=sys.stderr)
        raise SystemExit(getattr(error, "exit_code", code)) from None


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ser-hf {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Speech emotion recognition: corpora, training, predictions, reports."""


@app.command()
def doctor(
    corpus: Annotated[str, typer.Argument(help=CORPUS)],
    root: Annotated[Path | None, typer.Argument(help="Its folder. Default: below $SER_HF_CORPORA.")] = None,
    scheme: Annotated[str | None, typer.Option(help="own: the words of your recordings are its classes.")] = None,
    columns: Columns = None,
    labels: Labels = None,
    encoding: Encoding = None,
    votes: Votes = False,
    as_json: Json = False,
) -> None:
    """Find faults in a folder of recordings; nothing is changed.

    Exit code 0: no fault; 1: faults; 2: the folder could not be examined.
    """
    from ser_hf.cli.doctor import examine_folder, to_table

    with _exit_on_error(2):  # not 1, which means that there are faults
        found = examine_folder(
            corpus, root, scheme=scheme, columns=columns or (), labels=labels or (), encoding=encoding, votes=votes,
            progress=sys.stderr.isatty() and not as_json,
        )  # fmt: skip
    print(to_json(found.to_dict()) if as_json else to_table(found))
    if found.faults:
        raise typer.Exit(1)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Folder or Hub name of any classifier.")],
    corpus: Annotated[str, typer.Option(help=CORPUS)],
    root: Annotated[Path | None, typer.Option(help="Its folder. Default: below $SER_HF_CORPORA.")] = None,
    scheme: Annotated[str | None, typer.Option(help="Label scheme. Default: that of the model's training.")] = None,
    label_source: LabelSource = None,
    label_map: Annotated[
        list[str] | None,
        typer.Option("--label-map", "--label_map", help="Classes of the model's labels: neu=neutral,hap=happiness."),
    ] = None,
    evaluation_map: Annotated[
        list[str] | None,
        typer.Option(
            "--evaluation-map",
            "--evaluation_map",
            help="Other classes for which an answer counts as correct: 'boredom=neutral|calm'. Default scheme: that of "
            "the corpus.",
        ),
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="Protocol. Default: that of the model's training.")] = None,
    fold: Annotated[
        int | None,
        typer.Option(help="Fold. Default: that of the training. -1: all folds of a run, each on its test speakers."),
    ] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", "--allow_partial", help="Accept an incomplete corpus.")
    ] = False,
    allow_truncated: Truncated = False,
    skip_unusable: Annotated[
        bool, typer.Option("--skip-unusable", "--skip_unusable", help="Leave out and count what would be refused.")
    ] = False,
    columns: Columns = None,
    labels: Labels = None,
    encoding: Encoding = None,
    votes: Votes = False,
    speakers_are_new: Annotated[
        bool,
        typer.Option(
            "--speakers-are-new",
            "--speakers_are_new",
            help="Your word that the model knows none of the speakers; the report says that it is yours.",
        ),
    ] = False,
    emobox_root: Annotated[
        Path | None,
        typer.Option("--emobox-root", "--emobox_root", help="A checkout of EmoBox, for the protocols <corpus>/emobox."),
    ] = None,
    conditions: Annotated[
        str | None,
        typer.Option(help="Evaluate disturbed recordings, too: standard, or a list such as noise:10,reverb:0.6,gsm."),
    ] = None,
    adaptation: Annotated[
        str | None,
        typer.Option(
            help="Adapt to each speaker without labels, and compare with none: online, online-sorted, enrolled-20, "
            "transductive, pseudo-speakers, or several of them: online,enrolled-20."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write predictions and report to.")] = None,
    as_json: Json = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Evaluate a classifier on unseen speakers; its ledger names the speakers of its training."""
    from transformers.utils import logging

    from ser_hf.cli.evaluate import evaluate_folds, evaluate_model

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    options = dict(
        scheme=scheme, label_source=label_source, label_map=label_map or (), evaluation_map=evaluation_map or (),
        conditions=conditions.split(",") if conditions else (),
        adaptations=adaptation.split(",") if adaptation else (), allow_partial=allow_partial,
        allow_truncated=allow_truncated, skip_unusable=skip_unusable, columns=columns or (), labels=labels or (),
        encoding=encoding, votes=votes, speakers_are_new=speakers_are_new, emobox_root=emobox_root,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    if fold == -1:
        if protocol is not None:
            raise typer.BadParameter("--fold -1 takes the protocol of the run: leave --protocol out")
        tables = evaluate_folds(model, corpus, root, **options)
    else:
        tables = evaluate_model(model, corpus, root, protocol=protocol, fold=fold, **options)
    if out is not None:
        tables.write(out)  # before the report, which may fail: scoring takes long
    report = tables.report()
    if out is not None:
        report.write(out)
    print(to_json(report.to_dict()) if as_json else report.to_markdown())


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or tables of predictions; several are pooled.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to. Default: beside the predictions.")] = None,
    roots: Annotated[
        list[str] | None, typer.Option(help="Folders of recordings, corpus=folder; report.html plays some.")
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="Compare the groups of a column, too, such as intensity or statement.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a run, or of one model's folds and seeds, from their predictions alone."""
    from ser_hf.cli.report import report_runs

    for word in roots or ():
        if "=" not in word:
            raise typer.BadParameter(f"{word!r} is not of the form corpus=folder")
    folders = {name: Path(folder) for name, folder in (word.split("=", 1) for word in roots or ())}
    facts = report_runs(runs, out, roots=folders, by=by or ())
    print(to_json(facts.to_dict()) if as_json else facts.to_markdown())


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Run folder or table of each model; join its seeds by commas.")],
    metric: Annotated[str, typer.Option(help=f"One of {', '.join(METRICS)}.")] = "uar",
    as_json: Json = False,
) -> None:
    """Compare models on the same test utterances, paired over speakers."""
    from ser_hf.cli.compare import compare_runs
    from ser_hf.evaluation.comparisons.compare import to_markdown

    facts = compare_runs(runs, metric=metric)
    print(to_json(facts) if as_json else "\n".join(to_markdown(facts)))


@app.command(name="cross-corpus")
def cross_corpus(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or prediction tables, within and across corpora.")],
    evaluation_map: Annotated[
        list[str] | None,
        typer.Option(
            "--evaluation-map", "--evaluation_map", help="Evaluation map across corpora. Default: the tables'."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of the models. Default: as in the tables.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for Markdown, JSON and a picture.")] = None,
    as_json: Json = False,
) -> None:
    """Show a matrix of results of models trained on one corpus and tested on others."""
    from ser_hf.cli.cross_corpus import cross_runs
    from ser_hf.evaluation.comparisons.cross_corpus import to_markdown

    facts = cross_runs(runs, evaluation_map=evaluation_map or (), model=model, out=out)
    print(to_json(facts) if as_json else "\n".join(to_markdown(facts)))


@app.command()
def leaderboard(
    folder: Annotated[Path, typer.Argument(help="Folder of run folders, each with a report.")],
    out: Annotated[Path | None, typer.Option(help="Folder for Markdown and JSON.")] = None,
    as_json: Json = False,
) -> None:
    """Rank reports: one table for each protocol, scheme and label source."""
    from ser_hf.cli.leaderboard import rank_folder
    from ser_hf.report.leaderboard import to_markdown

    facts = rank_folder(folder, out)
    print(to_json(facts) if as_json else "\n".join(to_markdown(facts)))


@app.command()
def audit(
    what: Annotated[
        Path | None, typer.Argument(help="A table of files (file, speaker, part), or a run folder.")
    ] = None,
    corpus: Annotated[str | None, typer.Option(help="With --supports: name of the corpus.")] = None,
    scheme: Annotated[
        str | None, typer.Option(help="With --supports: label scheme. Default: the corpus's own.")
    ] = None,
    supports: Annotated[
        str | None, typer.Option(help="Test utterances of each class: anger=39,calm=39,...,neutral=20.")
    ] = None,
    claim: Annotated[
        str, typer.Option(help="speaker-independent, text-independent (tables), held-out or unspecified.")
    ] = "speaker-independent",
    root: Annotated[Path | None, typer.Option(help="Folder of the recordings, or of the corpus.")] = None,
    statistics_fitted_on: Annotated[
        str,
        typer.Option(help="Parts used for normalisation and other statistics: train, train+validation, all, unknown."),
    ] = "unknown",
    as_json: Json = False,
) -> None:
    """Find leaks in a division, a run, or the supports of a published test set.

    Exit code 0: nothing found; 1: something found; 2: the audit failed.
    """
    from ser_hf.cli.audit import audit_anything, to_text

    with _exit_on_error(2):  # not 1, which means that a leak was found
        findings = audit_anything(
            what,
            corpus=corpus,
            scheme=scheme,
            supports=supports,
            claim=claim,
            root=root,
            statistics=statistics_fitted_on,
        )
    rows = [asdict(finding) for finding in findings]
    print(to_json(rows) if as_json else to_text(findings))
    if any(finding.counts for finding in findings):
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def train(context: typer.Context) -> None:
    """Train a classifier: configuration (optional), options. Few data: --model_name_or_path lda:openai/whisper-base"""
    refuse_misspelt(context.args, Path(__file__).parents[1] / "training" / "train.py")  # before slow imports
    from ser_hf.cli.train import train_words

    train_words(context.args).show()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def precompute(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="Configuration of train_classifier.py; options may follow.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
) -> None:
    """Compute the features for a training, which then runs without recordings (--precomputed OUT)."""
    refuse_misspelt(context.args, Path(__file__).with_name("precompute.py"))  # before an import that takes seconds
    from ser_hf.cli.precompute import precompute_config

    facts = precompute_config(config, out, context.args)
    print("{folder}: {utterances} utterances, {column}, {mebibytes} MiB".format(**facts))


@app.command()
def push(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    to: Annotated[
        str | None, typer.Option(help="Repository, user/name. Default: your own, named like the folder.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be published.")] = False,
    as_json: Json = False,
) -> None:
    """Publish a run on the Hugging Face Hub: model, card and report in one commit."""
    from ser_hf.cli.push import push_run, to_table

    published = push_run(run, to, private=private, dry_run=dry_run)
    print(to_json(published) if as_json else to_table(published))


def main() -> None:
    """Run a verb. Errors are one line on stderr; the exit code is 1 for wrong data, 2 for wrong usage."""
    try:
        with _exit_on_error(1), naming_extra("".join(sys.argv[1:2])):
            app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
