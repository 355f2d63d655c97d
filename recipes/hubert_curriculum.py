"""A curriculum over corpora: acted speech first, harder speech later, and what holds on to the earlier ones.

    accelerate launch recipes/hubert_curriculum.py                      # synthetic speech, a tiny HuBERT, offline
    accelerate launch recipes/hubert_curriculum.py recipes/configs/curriculum_iemocap.yaml --rehearsal_share 0.3

After every stage the model is scored on the unseen test speakers of every corpus: the forgetting table. The epoch of
each stage is chosen on the validation speakers of its own corpora, the temperature of the end on those of all corpora.
Several folds make a folder each, and a pooled report and forgetting table above them; what is finished is kept.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import set_seed

from ser_hf.data.precompute import fit_statistics, precompute
from ser_hf.evaluation.comparisons.forgetting import ForgettingTable, stage_folder
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.hub.push import destination_of_run, push, save_run
from ser_hf.inference.evaluate import calibrate, evaluate, predict_probabilities
from ser_hf.inference.teacher import Teacher
from ser_hf.models.pretrained import build_classifier, is_frozen
from ser_hf.report.runs import TEST, RunTables, conclude
from ser_hf.splits.split import chosen_folds, split_each
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments
from ser_hf.training.curriculum import CurriculumArguments, rehearse, select_corpora
from ser_hf.training.curves import write_curves
from ser_hf.training.pacing import PacingArguments, has_learnt
from ser_hf.training.parser import parse, run_recipe, save_arguments
from ser_hf.training.resume import last_checkpoint
from ser_hf.training.retention import RetentionArguments, RetentionTrainer


def main(argv: Sequence[str] | None = None) -> None:
    default = Path(__file__).parent / "configs" / "synthetic_curriculum.yaml"
    data_args, model_args, retention, pacing, training_args = parse(
        CurriculumArguments, ModelArguments, RetentionArguments, PacingArguments, SERTrainingArguments,
        default_config=default, argv=argv,
    )  # fmt: skip
    run = Path(training_args.output_dir)
    repo_id = destination_of_run(training_args, folds=data_args.folds)
    with training_args.main_process_first():
        dataset = data_args.load()
    labels = dataset.features["label"].names
    folds = chosen_folds(dataset, data_args.protocols, data_args.folds, emobox_root=data_args.emobox_root)
    teachers = {fold: Teacher.of_fold(pacing.pacing_teacher, fold) for fold in folds if pacing.pacing == "teacher"}
    for fold, teacher in teachers.items():  # a leak in the last fold is told before the first one is trained
        if teacher.ledger is None or teacher.ledger.unknown:
            raise ValueError(f"pacing_teacher: nobody knows all that {teacher.name} has heard")
        teacher.refuse_leak(*split_each(dataset, data_args.protocols, fold, emobox_root=data_args.emobox_root))
    set_seed(training_args.seed)  # a random encoder that is frozen is the same one here and in every fold
    model, extractor = model_args.build(labels)
    retention.check(model, training_args)
    each = [stage.training_arguments(training_args, run) for stage in data_args.stage_list]
    pacing.check(dataset, model, epochs=[args.num_train_epochs for args in each])
    with training_args.main_process_first():  # what does not change while training is computed once
        dataset = precompute(dataset, model.to(training_args.device), extractor, frozen=is_frozen(model))
        goes_on = save_arguments(run, data_args, model_args, retention, pacing, training_args)

    runs, curricula = [], []
    for fold in folds:
        folder = run if len(folds) == 1 else run / f"fold{fold}"
        if goes_on and (folder / TEST).exists():
            runs.append(RunTables.read(folder))
            curricula.append(ForgettingTable.read(folder))
            continue
        parts, protocol = split_each(dataset, data_args.protocols, fold, emobox_root=data_args.emobox_root)
        set_seed(training_args.seed)
        model, extractor = model_args.build(labels)
        ledger = model_args.earlier_ledger()
        facts = dict(fold=fold, seed=training_args.seed, model_name=model_args.model_name, **ledger.judged(protocol))
        if (teacher := teachers.get(fold)) is not None:
            ledger = ledger.taught_by(teacher.ledger, teacher.name)
        earlier, after_stage = [], {}
        for number, stage in enumerate(data_args.stage_list, start=1):
            kept = stage_folder(folder, number, stage.name)
            current = select_corpora(parts["train"], stage.corpora)
            validation = select_corpora(parts["validation"], stage.corpora)
            heard = {"train": current, "validation": validation, "test": parts["test"]}
            ledger = ledger.continued(heard, protocol, fold=fold, seed=training_args.seed, scheme=data_args.scheme)
            if goes_on and (kept / TEST).exists():
                after_stage[stage.name] = PredictionTable.read(kept / TEST)
                model, extractor = build_classifier(str(kept), labels, trainable=model_args.trainable)
            else:
                share = data_args.rehearsal_share if stage.rehearsal_share is None else stage.rehearsal_share
                train, weights, count = rehearse(
                    current, earlier, share, training_args.balance, training_args.balance_by
                )
                answers = None
                if teacher is not None:
                    answers = teacher.log_probabilities(current, device=str(training_args.device))
                if pacing.pacing == "loss" and has_learnt(model):
                    answers = np.log(predict_probabilities(model, extractor, current))
                if not earlier:
                    fit_statistics(model.to(training_args.device), extractor, current)
                set_seed(training_args.seed)  # whatever was drawn before, such as by a stage that was kept
                model_args.adapt(model)  # adapters of the stage before are part of its weights now
                trainer = RetentionTrainer(
                    model,
                    stage.training_arguments(training_args, kept),
                    retention=retention if earlier else None,
                    train_dataset=train,
                    eval_dataset=validation,
                    processing_class=extractor,
                    ledger=ledger,
                    utterance_weights=weights,
                    utterances_per_epoch=count,
                    pace=pacing.pace(current, len(train) - len(current), answers, seed=training_args.seed),
                )
                trainer.train(resume_from_checkpoint=last_checkpoint(kept))
                trainer.save_model()
                table = evaluate(model, extractor, parts["test"], **facts, trained_on=ledger.corpora)
                if training_args.should_save:
                    write_curves(kept, trainer.state.log_history)
                    table.write(kept / TEST)
                after_stage[stage.name] = table
            earlier.append(current)

        facts["trained_on"] = ledger.corpora
        validation = evaluate(model, extractor, parts["validation"], **facts, part="validation")
        validation = calibrate(model, validation)
        runs.append(RunTables(evaluate(model, extractor, parts["test"], **facts), validation))
        curricula.append(ForgettingTable(after_stage, data_args.learnt_in))
        if training_args.should_save:
            ledger.write(folder)
            curricula[-1].write(folder)
            save_run(folder, model, extractor, runs[-1], base_model=model_args.model_name)

    if training_args.should_save:
        forgetting = ForgettingTable.pool(curricula)
        if len(folds) > 1:
            forgetting.write(run)
        print(conclude(run, runs).to_markdown(), forgetting.to_markdown(), sep="\n\n")
        if repo_id is not None:
            print(push(run, repo_id, private=training_args.hub_private_repo, token=training_args.hub_token).url)


if __name__ == "__main__":
    run_recipe(main)
