"""Fit a linear discriminant on a frozen encoder, and evaluate it on unseen speakers: seconds on a CPU.

    python recipes/train_lda.py                                                # synthetic speech, offline
    SER_HF_CORPORA=/path/to/corpora python recipes/train_lda.py recipes/configs/ravdess_lda.yaml

Whatever is chosen, is chosen on training speakers, so the validation speakers may be trained on too (`--refit true`).
The model adapts to a speaker without labels: `ser-hf evaluate RUN --adaptation online`.
"""

from collections.abc import Sequence
from pathlib import Path

from ser_hf.options import refuse_misspelt_of_recipe

if __name__ == "__main__":
    refuse_misspelt_of_recipe(__file__)  # before the imports below, which take seconds

from ser_hf.training.data_arguments import DataArguments
from ser_hf.training.fitted.lda import LDAArguments
from ser_hf.training.parser import parse, run_recipe
from ser_hf.training.train import train_fitted

DEFAULT = Path(__file__).parent / "configs" / "synthetic_lda.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    data, lda = parse(DataArguments, LDAArguments, default_config=DEFAULT, argv=argv)
    train_fitted(data, lda).show()


if __name__ == "__main__":
    run_recipe(main)
