"""Teach a classifier with the answers of another one, and evaluate it on speakers that neither was trained on.

    python recipes/train_svm.py --output_dir runs/synthetic_teacher               # a teacher: seconds, offline
    python recipes/distill.py                                                     # its student, a network
    python recipes/distill.py --distillation_weight 0 --output_dir runs/untaught  # the control: labels alone

The teacher may be of any family. Its answers to the training part are computed once. A teacher that was trained or
chosen on test speakers of the student is refused before training. If the teacher has no ledger, its training data is
unknown, and the report says so. If the teacher's run has several folds, its fold n teaches fold n.
"""

from collections.abc import Sequence
from pathlib import Path

from ser_hf.options import refuse_misspelt_of_recipe

if __name__ == "__main__":
    refuse_misspelt_of_recipe(__file__)  # before the imports below, which take seconds

from accelerate import PartialState

from ser_hf.data.targets import with_teacher_logits
from ser_hf.inference.teacher import Teacher
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments
from ser_hf.training.data_arguments import DataArguments
from ser_hf.training.distillation import DistillationArguments, DistillationTrainer, refuse_unanswered
from ser_hf.training.parser import parse, run_recipe
from ser_hf.training.run_folds import Experiment, Fold, Trained, run_folds

DEFAULT = Path(__file__).parent / "configs" / "distill_synthetic.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    data, model, distillation, training = parse(
        DataArguments, ModelArguments, DistillationArguments, SERTrainingArguments, default_config=DEFAULT, argv=argv
    )
    refuse_unanswered(training)
    with training.main_process_first():
        dataset = data.load()
    teachers = {fold: Teacher.of_fold(distillation.teacher, fold) for fold in data.chosen_folds(dataset)}
    for fold, teacher in teachers.items():  # a leak in the last fold is found before the first one is trained
        teacher.refuse_leak(*data.split(dataset, fold))
        teacher.refuse_unfit(dataset.features["label"].names, label_map=distillation.label_map)

    def train(fold: Fold) -> Trained:
        teacher, rows = teachers[fold.number], fold.parts["train"]
        with PartialState().local_main_process_first():
            answers = teacher.log_probabilities(rows, label_map=distillation.label_map, device=str(training.device))
        fold.taught_by(teacher)
        student, extractor = fold.build()
        rows = with_teacher_logits(rows, answers)
        return fold.fit(DistillationTrainer, student, extractor, train=rows, distillation=distillation)

    run_folds(Experiment(data, model, training, distillation, dataset=dataset), train).show()


if __name__ == "__main__":
    run_recipe(main)
