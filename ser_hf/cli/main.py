"""`ser-hf`: short verbs over the library's functions. Starts without importing torch."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ser_hf import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
corpora_app = typer.Typer()
app.add_typer(corpora_app, name="corpora", help="List every corpus, or download one.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
CorporaRoot = Annotated[
    Path | None, typer.Option(help="Folder that holds the corpora, one folder each. Default: $SER_HF_CORPORA.")
]


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


@corpora_app.callback(invoke_without_command=True)
def corpora(context: typer.Context, root: CorporaRoot = None, as_json: Json = False) -> None:
    """List every corpus: licence, size, protocols, and what is found on disk."""
    if context.invoked_subcommand is not None:
        if root is not None or as_json:
            raise typer.BadParameter(f"options of {context.invoked_subcommand} stand behind it")
        return

    from ser_hf.cli.corpora import describe_corpora, to_table

    rows = describe_corpora(root)
    print(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else to_table(rows))


@corpora_app.command()
def download(
    name: Annotated[str, typer.Argument(help="Name of a corpus.")],
    root: CorporaRoot = None,
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="Do not ask; for scripts.")] = False,
) -> None:
    """Download a corpus into its folder, after its licence is accepted. A run that was cut off is taken up again."""
    from ser_hf.cli.corpora import completeness, describe_download, folder_to_download_into
    from ser_hf.corpora import get_corpus
    from ser_hf.sources.download import download_corpus, is_there

    spec = get_corpus(name)
    if spec.generate is not None:
        print(f"{name} is made by ser_hf when it is first used: nothing needs to be downloaded")
        return
    folder = folder_to_download_into(spec, root)
    if is_there(spec, folder):
        print(f"{name} is in {folder} already: {completeness(spec, folder)}")
        return
    print(describe_download(spec, folder))
    if not accept_licence:
        if not sys.stdin.isatty():
            print(f"ser-hf: nobody is there to ask: pass --accept-licence if you accept it for {name}", file=sys.stderr)
            raise typer.Exit(2)
        if not typer.confirm("Do you accept the licence?"):
            print("ser-hf: nothing is downloaded, since the licence is not accepted", file=sys.stderr)
            raise typer.Exit(1)
    download_corpus(spec, folder)
    found = completeness(spec, folder)
    print(f"{folder}: {found}")
    if not found.startswith("complete"):
        print("What uses it must allow a part of the corpus (--allow_partial).")


@app.command()
def doctor(
    corpus: Annotated[str, typer.Argument(help="Name of a corpus; `folder` for recordings of your own.")],
    root: Annotated[Path, typer.Argument(help="Its folder.")],
    as_json: Json = False,
) -> None:
    """Find what is wrong with a folder of recordings, and change nothing. Exit code 1 if something is."""
    from ser_hf.cli.doctor import examine_folder, to_table
    from ser_hf.corpora import CorpusError

    try:
        found = examine_folder(corpus, root, progress=sys.stderr.isatty() and not as_json)
    except CorpusError as error:  # no such corpus, no such folder
        print(f"ser-hf: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if as_json else to_table(found))
    if found.faults:
        raise typer.Exit(1)


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="Folder or Hub name of a trained classifier.")],
    files: Annotated[list[Path], typer.Argument(help="Recordings.")],
    as_json: Json = False,
    trust_remote_code: Annotated[bool, typer.Option(help="Run code from the model's repository.")] = False,
) -> None:
    """Classify recordings."""
    from ser_hf.cli.predict import predict_files, to_table

    rows = predict_files(model, files, trust_remote_code=trust_remote_code)
    print(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else to_table(rows))


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Folder or Hub name of a classifier, ours or anybody's.")],
    corpus: Annotated[str, typer.Option(help="Name of a corpus.")],
    root: Annotated[Path | None, typer.Option(help="Its folder. Default: below $SER_HF_CORPORA.")] = None,
    scheme: Annotated[str | None, typer.Option(help="Label scheme. Default: that of the model's training.")] = None,
    label_source: Annotated[
        str | None, typer.Option("--label-source", "--label_source", help="Which labels, where the corpus has several.")
    ] = None,
    label_map: Annotated[
        list[str] | None,
        typer.Option("--label-map", "--label_map", help="The model's labels as classes: neu=neutral,hap=happiness."),
    ] = None,
    evaluation_map: Annotated[
        list[str] | None,
        typer.Option(
            "--evaluation-map",
            "--evaluation_map",
            help="What an answer counts as besides itself: 'boredom=neutral|calm'. The corpus keeps its own scheme.",
        ),
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="Another protocol than that of the model's training.")] = None,
    fold: Annotated[
        int | None,
        typer.Option(help="Another fold than that of the training; -1: all folds of a run on their own test speakers."),
    ] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", "--allow_partial", help="Accept a corpus that is not complete.")
    ] = False,
    emobox_root: Annotated[
        Path | None,
        typer.Option("--emobox-root", "--emobox_root", help="A checkout of EmoBox, for the protocols <corpus>/emobox."),
    ] = None,
    conditions: Annotated[
        str | None,
        typer.Option(help="Score the recordings disturbed as well: standard, or such as noise:10,reverb:0.6,gsm."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write predictions and report to.")] = None,
    as_json: Json = False,
    trust_remote_code: Annotated[bool, typer.Option(help="Run code from the model's repository.")] = False,
) -> None:
    """Judge a classifier on the speakers it has not heard, as its ledger says."""
    from transformers.utils import logging

    from ser_hf.cli.evaluate import evaluate_folds, evaluate_model

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    options = dict(
        scheme=scheme, label_source=label_source, label_map=label_map or (), evaluation_map=evaluation_map or (),
        conditions=conditions.split(",") if conditions else (), allow_partial=allow_partial,
        emobox_root=emobox_root, trust_remote_code=trust_remote_code,
    )  # fmt: skip
    if fold == -1:
        if protocol is not None:
            raise typer.BadParameter("--fold -1 takes the protocol of the run: leave --protocol out")
        tables = evaluate_folds(model, corpus, root, **options)
    else:
        tables = evaluate_model(model, corpus, root, protocol=protocol, fold=fold, **options)
    if out is not None:
        tables.write(out)  # before anything can go wrong with their report: scoring is what takes long
    report = tables.report()
    if out is not None:
        report.write(out)
    print(json.dumps(report.to_dict(), indent=2) if as_json else report.to_markdown())


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or tables of predictions; several are pooled.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to. Default: beside the predictions.")] = None,
    roots: Annotated[
        list[str] | None, typer.Option(help="Where recordings lie, corpus=folder: report.html then plays some.")
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="Compare the groups of a column too, such as intensity or statement.")
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
    print(json.dumps(facts.to_dict(), indent=2) if as_json else facts.to_markdown())


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Run folders or tables, one a model; its seeds joined by commas.")],
    metric: Annotated[str, typer.Option(help="uar, war or macro_f1.")] = "uar",
    as_json: Json = False,
) -> None:
    """Tell which model is better on the same test utterances, paired over speakers."""
    from ser_hf.cli.compare import compare_runs
    from ser_hf.evaluation.comparisons.compare import to_markdown

    facts = compare_runs(runs, metric=metric)
    print(json.dumps(facts, indent=2) if as_json else "\n".join(to_markdown(facts)))


@app.command(name="cross-corpus")
def cross_corpus(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or tables: within corpora, and across them.")],
    evaluation_map: Annotated[
        list[str] | None,
        typer.Option("--evaluation-map", "--evaluation_map", help="Judge across corpora by another map."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="What to call the models. Default: as the tables do.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for Markdown, JSON and a picture.")] = None,
    as_json: Json = False,
) -> None:
    """Lay out what models trained on one corpus reach on others."""
    from ser_hf.cli.cross_corpus import cross_runs
    from ser_hf.evaluation.comparisons.cross_corpus import to_markdown

    facts = cross_runs(runs, evaluation_map=evaluation_map or (), model=model, out=out)
    print(json.dumps(facts, indent=2) if as_json else "\n".join(to_markdown(facts)))


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
    print(json.dumps(facts, indent=2) if as_json else "\n".join(to_markdown(facts)))


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
        typer.Option(help="Parts that normalisation and the like were computed from: train, train+validation, all."),
    ] = "unknown",
    as_json: Json = False,
) -> None:
    """Find leaks in a division, a run, or the supports of a published test set.

    Exit code 0: nothing found; 1: something found; 2: it could not be judged.
    """
    from ser_hf.cli.audit import audit_anything, to_text

    try:
        findings = audit_anything(
            what,
            corpus=corpus,
            scheme=scheme,
            supports=supports,
            claim=claim,
            root=root,
            statistics=statistics_fitted_on,
        )
    except (ValueError, OSError) as error:  # not 1, which says that a leak was found
        print(f"ser-hf: {' '.join(str(error).split())}", file=sys.stderr)
        raise typer.Exit(2) from None
    rows = [asdict(finding) for finding in findings]
    print(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else to_text(findings))
    if any(finding.counts for finding in findings):
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def train(context: typer.Context) -> None:
    """Train a classifier, or a support vector machine: a configuration, if any, then options (--help lists them)."""
    from ser_hf.cli.train import train_words

    train_words(context.args).show()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def precompute(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="Configuration of train_classifier.py; options may follow.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
) -> None:
    """Compute what a training needs of the recordings; it then runs without them (--precomputed OUT)."""
    from ser_hf.cli.precompute import precompute_config

    facts = precompute_config(config, out, context.args)
    print("{folder}: {utterances} utterances, {column}, {mebibytes} MiB".format(**facts))


@app.command()
def push(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    to: Annotated[
        str | None, typer.Option(help="Repository, user/name. Default: your own, called like the folder.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be published.")] = False,
    as_json: Json = False,
) -> None:
    """Publish a run on the Hugging Face Hub: model, card and report in one commit."""
    from ser_hf.cli.push import push_run, to_table

    published = push_run(run, to, private=private, dry_run=dry_run)
    print(json.dumps(published, indent=2, ensure_ascii=False) if as_json else to_table(published))


def main() -> None:
    """Run a verb. Errors are one line on stderr; the exit code is 1 for wrong data, 2 for wrong usage."""
    try:
        app()
    except (ValueError, OSError) as error:  # CorpusError, AudioError, ModelError, SplitError are ValueErrors
        print(f"ser-hf: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(getattr(error, "exit_code", 1)) from None  # an OptionError has 2
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
