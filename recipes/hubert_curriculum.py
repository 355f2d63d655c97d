"""A curriculum over corpora: acted speech first, harder speech later, and methods against forgetting the earlier ones.

    accelerate launch recipes/hubert_curriculum.py                      # synthetic speech, a tiny HuBERT, offline
    accelerate launch recipes/hubert_curriculum.py recipes/configs/curriculum_iemocap.yaml --rehearsal_share 0.3

After every stage the model is evaluated on the unseen test speakers of every corpus: the forgetting table. The epoch of
each stage is chosen on the validation speakers of its own corpora, the final temperature on those of all corpora.
Several folds make a folder each, and a pooled report and forgetting table above them. Finished folds and stages are
kept.
"""

from collections.abc import Sequence
from pathlib import Path

from ser_hf.options import refuse_misspelt_of_recipe

if __name__ == "__main__":
    refuse_misspelt_of_recipe(__file__)  # before the imports below, which take seconds

import numpy as np
from accelerate import PartialState
from transformers import set_seed

from ser_hf.data.statistics import fit_statistics
from ser_hf.evaluation.comparisons.forgetting import ForgettingTable, stage_folder
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.files import TEST
from ser_hf.inference.evaluate import evaluate
from ser_hf.inference.predict import predict_probabilities
from ser_hf.inference.teacher import Teacher
from ser_hf.models.pretrained import build_classifier
from ser_hf.report.curves import write_curves
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments
from ser_hf.training.callbacks import last_checkpoint
from ser_hf.training.curriculum import CurriculumArguments, PacingArguments, has_learnt, rehearse, select_corpora
from ser_hf.training.parser import parse, run_recipe
from ser_hf.training.retention import RetentionArguments, RetentionTrainer
from ser_hf.training.run_folds import Experiment, Fold, Trained, run_folds

DEFAULT = Path(__file__).parent / "configs" / "synthetic_curriculum.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    curriculum, model, retention, pacing, training = parse(
        CurriculumArguments, ModelArguments, RetentionArguments, PacingArguments, SERTrainingArguments,
        default_config=DEFAULT, argv=argv,
    )  # fmt: skip
    with training.main_process_first():
        dataset = curriculum.load()
    teachers = {}
    if pacing.pacing == "teacher":
        teachers = {fold: Teacher.of_fold(pacing.pacing_teacher, fold) for fold in curriculum.chosen_folds(dataset)}
    for fold, teacher in teachers.items():  # a leak in the last fold is found before the first one is trained
        if teacher.ledger is None or teacher.ledger.unknown:
            raise ValueError(f"--pacing_teacher: the training data of {teacher.name} is unknown; use another teacher")
        teacher.refuse_leak(*curriculum.split(dataset, fold))

    def check(classifier, _folds) -> None:
        retention.check(classifier, training)
        stages = [stage.training_arguments(training, Path(training.output_dir)) for stage in curriculum.stage_list]
        pacing.check(dataset, classifier, epochs=[stage.num_train_epochs for stage in stages])

    def train(fold: Fold) -> Trained:
        classifier, extractor = fold.build_unfitted()
        if (teacher := teachers.get(fold.number)) is not None:
            fold.ledger = fold.ledger.taught_by(teacher.ledger, teacher.name)
        earlier, after_stage = [], {}
        for number, stage in enumerate(curriculum.stage_list, start=1):
            kept = stage_folder(fold.folder, number, stage.name)
            current = select_corpora(fold.parts["train"], stage.corpora)
            validation = select_corpora(fold.parts["validation"], stage.corpora)
            fold.note({"train": current, "validation": validation, "test": fold.parts["test"]})
            if experiment.goes_on and (kept / TEST).exists():
                after_stage[stage.name] = PredictionTable.read(kept / TEST)
                classifier, extractor = build_classifier(str(kept), experiment.labels, trainable=model.trainable)
            else:
                share = curriculum.rehearsal_share if stage.rehearsal_share is None else stage.rehearsal_share
                rows, weights, count = rehearse(current, earlier, share, training.balance, training.balance_by)
                answers = None
                if teacher is not None:
                    answers = teacher.log_probabilities(current, device=str(training.device))
                if pacing.pacing == "loss" and has_learnt(classifier):
                    answers = np.log(predict_probabilities(classifier, extractor, current))
                if not earlier:
                    fit_statistics(classifier.to(training.device), extractor, current)
                set_seed(training.seed)  # independent of the random numbers used so far
                model.adapt(classifier)  # the adapters of the stage before are part of its weights now
                trainer = RetentionTrainer(
                    classifier,
                    stage.training_arguments(training, kept),
                    retention=retention if earlier else None,
                    train_dataset=rows,
                    eval_dataset=validation,
                    processing_class=extractor,
                    ledger=fold.ledger,
                    utterance_weights=weights,
                    utterances_per_epoch=count,
                    pace=pacing.pace(current, len(rows) - len(current), answers, seed=training.seed),
                )
                trainer.train(resume_from_checkpoint=last_checkpoint(kept))
                trainer.save_model()
                after_stage[stage.name] = evaluate(classifier, extractor, fold.parts["test"], **fold.facts)
                if PartialState().is_main_process:
                    write_curves(kept, trainer.state.log_history)
                    after_stage[stage.name].write(kept / TEST)
            earlier.append(current)
        if PartialState().is_main_process:
            ForgettingTable(after_stage, curriculum.learnt_in).write(fold.folder)
        return Trained(classifier, extractor)

    experiment = Experiment(curriculum, model, training, retention, pacing, dataset=dataset, check=check)
    run = run_folds(experiment, train)
    if PartialState().is_main_process:
        forgetting = ForgettingTable.read(run.folder)
        if len(run.folds) > 1:
            forgetting.write(run.folder)
        print(forgetting.to_markdown())
    run.show()


if __name__ == "__main__":
    run_recipe(main)
