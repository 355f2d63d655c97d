"""Fit a support vector machine on functionals, on embeddings, or on both, and evaluate it on unseen speakers.

    python recipes/train_svm.py                                                # synthetic speech, offline, seconds
    SER_HF_CORPORA=/path/to/corpora python recipes/train_svm.py recipes/configs/ravdess_svm.yaml

Its options are fixed beforehand, or C and gamma are chosen on training speakers (`--tune true`). Nothing is chosen on
the validation speakers, so they may be trained on too (`--refit true`). A single fold makes a run folder that works in
`pipeline`. Several folds make a folder each, and a pooled report above them.
"""

from collections.abc import Sequence
from pathlib import Path

from ser_hf.options import refuse_misspelt_of_recipe

if __name__ == "__main__":
    refuse_misspelt_of_recipe(__file__)  # before the imports below, which take seconds

from ser_hf.training.data_arguments import DataArguments
from ser_hf.training.fitted.svm import SVMArguments
from ser_hf.training.parser import parse, run_recipe
from ser_hf.training.train import train_fitted

DEFAULT = Path(__file__).parent / "configs" / "synthetic_svm.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    data, svm = parse(DataArguments, SVMArguments, default_config=DEFAULT, argv=argv)
    train_fitted(data, svm).show()


if __name__ == "__main__":
    run_recipe(main)
