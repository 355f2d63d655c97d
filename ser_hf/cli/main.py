"""`ser-hf`: short verbs over the library's functions. Starts without importing torch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Speech emotion recognition: corpora, predictions, published models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def corpora(
    root: Annotated[
        Path | None, typer.Option(help="Folder that holds the corpora, one folder each. Default: $SER_HF_CORPORA.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List every corpus: licence, size, protocols, and what is found on disk."""
    from ser_hf.cli.corpora import describe_corpora, to_table

    rows = describe_corpora(root)
    print(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else to_table(rows))


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
