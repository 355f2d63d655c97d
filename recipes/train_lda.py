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
from ser_hf.training.fitted.arguments import refuse_unfit_options
from ser_hf.training.fitted.lda import LDAArguments
from ser_hf.training.parser import parse, run_recipe
from ser_hf.training.run_folds import Experiment, Fold, Trained
from ser_hf.training.train import run_folds_or_final

DEFAULT = Path(__file__).parent / "configs" / "synthetic_lda.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    data, lda = parse(DataArguments, LDAArguments, default_config=DEFAULT, argv=argv)
    refuse_unfit_options(data)

    def train(fold: Fold) -> Trained:
        model, extractor = fold.build()
        lda.fit(model, fold.parts["train"], where=fold.title)
        return Trained(model, extractor)

    run_folds_or_final(Experiment(data, lda, lda, batch_size=32), train, refit=lda.refit).show()


if __name__ == "__main__":
    run_recipe(main)
