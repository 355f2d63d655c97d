"""Train any classifier on any corpora, and evaluate it on unseen speakers.

    python recipes/train_classifier.py                                            # synthetic speech, offline
    accelerate launch recipes/train_classifier.py recipes/configs/ravdess_whisper.yaml --folds -1

A single fold makes a run folder that works in `pipeline`. Several folds make a folder each, and a pooled report above
them. Run the same command again after an interruption: finished folds are kept. The scores are calibrated: a
temperature, fitted on the validation speakers, is merged into the weights.
"""

from collections.abc import Sequence
from pathlib import Path

from ser_hf.options import refuse_misspelt_of_recipe

if __name__ == "__main__":
    refuse_misspelt_of_recipe(__file__)  # before the imports below, which take seconds

from ser_hf.training.adversary import AdversarialTrainingArguments, SpeakerAdversarialTrainer
from ser_hf.training.arguments import ModelArguments
from ser_hf.training.data_arguments import DataArguments
from ser_hf.training.parser import parse, run_recipe
from ser_hf.training.run_folds import Experiment, Fold, Trained
from ser_hf.training.train import run_folds_or_final
from ser_hf.training.trainer import SERTrainer

DEFAULT = Path(__file__).parent / "configs" / "synthetic_classifier.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    data, model, training = parse(
        DataArguments, ModelArguments, AdversarialTrainingArguments, default_config=DEFAULT, argv=argv
    )

    def train(fold: Fold) -> Trained:
        classifier, extractor = fold.build()
        trainer = SpeakerAdversarialTrainer if training.speaker_adversary else SERTrainer
        return fold.fit(trainer, classifier, extractor)

    run_folds_or_final(Experiment(data, model, training), train).show()


if __name__ == "__main__":
    run_recipe(main)
