"""`ser-hf`: short verbs over the library's functions. Starts without importing torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Speech emotion recognition: corpora, predictions, reports.",
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
    from ser_hf.corpora.download import download_corpus, is_there

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


def main() -> None:
    """Runs a verb; wrong data is one line on stderr and exit code 1, wrong usage exit code 2."""
    try:
        app()
    except (ValueError, OSError) as error:  # CorpusError, AudioError, ModelError, SplitError are ValueErrors
        print(f"ser-hf: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
