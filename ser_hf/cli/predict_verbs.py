"""`ser-hf predict` and `ser-hf enrol`: their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import OptionError
from .corpora_verbs import Json, Truncated, TrustRemoteCode


def predict(
    model: Annotated[str, typer.Argument(help="Folder or Hub name of a trained classifier.")],
    files: Annotated[list[str], typer.Argument(help="Recordings, URLs, patterns ('a/**/*.wav'), folders; tables.")],
    speaker: Annotated[
        Path | None, typer.Option(help="Profile of the person in all recordings, from `ser-hf enrol`.")
    ] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", "--top_k", min=1, help="Number of answers.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ... Default: an accelerator if there is one.")] = None,
    backend: Annotated[
        str, typer.Option(help="torch; openvino or onnxruntime, faster on a CPU; or a folder of `ser-hf export`.")
    ] = "torch",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, or auto for the faster one here.")] = "float32",
    window: Annotated[
        float | None, typer.Option(min=1, help="Score longer recordings in windows of so many seconds, and average.")
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(
            help="Answer 'unknown' often enough that at most this share of the other answers is wrong: 0.05, 0.1, 0.2."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Table for any number (.parquet, .csv, .jsonl); resumable.")] = None,
    adaptation: Annotated[
        str,
        typer.Option(
            help="With --out: none, or online, where earlier recordings of a speaker help with the next ones."
        ),
    ] = "none",
    speaker_column: Annotated[
        str | None,
        typer.Option("--speaker-column", "--speaker_column", help="With --adaptation online: column of who speaks."),
    ] = None,
    engine: Annotated[str, typer.Option(help="With --out: local, or ray for the workers of a Ray cluster.")] = "local",
    allow_truncated: Truncated = False,
    as_json: Json = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Classify recordings.

    A recording that cannot be read is one line on stderr, and the others are classified; the exit code is then 1. With
    --out it is a row with the reason.
    """
    from ser_hf.cli.predict import predict_files, predict_table, tell, tell_table

    computing = {"device": device, "backend": backend, "dtype": dtype}
    if engine not in ("local", "ray"):
        raise OptionError(f"unknown engine {engine!r}: use local or ray")
    if (adaptation == "none") != (speaker_column is None):
        raise OptionError("--adaptation online needs --speaker_column, the column that says who speaks, and vice versa")
    if out is not None:
        if top_k is not None:
            raise OptionError("--top_k: a table has the probability of every class; leave it out with --out")
        if speaker is not None:
            raise OptionError(
                "--speaker: a table says itself who speaks; use --adaptation online --speaker_column NAME"
            )
        counts = predict_table(
            model, files, out, computing=computing, window=window, abstain=abstain, adaptation=adaptation,
            speaker_column=speaker_column, engine=engine, allow_truncated=allow_truncated,
            trust_remote_code=trust_remote_code,
        )  # fmt: skip
        tell_table(out, counts, as_json=as_json)
        return
    if adaptation != "none" or engine != "local":
        raise OptionError("--adaptation and --engine are for tables: add --out answers.csv")
    rows = predict_files(
        model, files, speaker=speaker, top_k=top_k, computing=computing, window=window, abstain=abstain,
        allow_truncated=allow_truncated, trust_remote_code=trust_remote_code,
    )  # fmt: skip
    raise typer.Exit(tell(rows, as_json=as_json))


def enrol(
    model: Annotated[str, typer.Argument(help="Folder or Hub name of a trained classifier.")],
    files: Annotated[list[str], typer.Argument(help="Recordings of one person, or folders of them; no labels.")],
    out: Annotated[Path, typer.Option(help="Folder of the profile; one that is there grows.")],
) -> None:
    """Make or extend the profile of a speaker for `ser-hf predict --speaker`: biometric data; delete it after use."""
    from ser_hf.cli.predict import enrol_files

    print(f"{out}: profile of {enrol_files(model, files, out)} recordings")
