"""Teach a classifier what another one answers, and judge it on speakers that neither has heard.

    python recipes/train_svm.py --output_dir runs/synthetic_teacher               # a teacher: seconds, offline
    python recipes/distill.py                                                     # its student, a network
    python recipes/distill.py --distillation_weight 0 --output_dir runs/untaught  # the control: labels alone

The teacher may be of any family, and its answers to the training part are computed once. One that has heard test
speakers of the student is refused before anything is trained; of one without a ledger nobody knows what it heard, and
the report says so. Of a teacher over several folds, fold n teaches fold n.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers import set_seed

from ser_hf.data.arguments import DataArguments
from ser_hf.data.precompute import fit_statistics, precompute
from ser_hf.data.targets import with_teacher_logits
from ser_hf.hub.push import destination_of_run, push, save_run
from ser_hf.inference.evaluate import calibrate, evaluate
from ser_hf.inference.teacher import Teacher
from ser_hf.models.pretrained import is_frozen
from ser_hf.report.runs import TEST, RunTables, conclude
from ser_hf.splits.split import chosen_folds, split_each
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments
from ser_hf.training.curves import write_curves
from ser_hf.training.distillation import DistillationArguments, DistillationTrainer, refuse_unanswered
from ser_hf.training.parser import parse, run_recipe, save_arguments
from ser_hf.training.resume import last_checkpoint


def main(argv: Sequence[str] | None = None) -> None:
    default = Path(__file__).parent / "configs" / "distill_synthetic.yaml"
    data_args, model_args, distill_args, training_args = parse(
        DataArguments, ModelArguments, DistillationArguments, SERTrainingArguments, default_config=default, argv=argv
    )
    refuse_unanswered(training_args)
    run = Path(training_args.output_dir)
    repo_id = destination_of_run(training_args, folds=data_args.folds)
    with training_args.main_process_first():
        dataset = data_args.load()
    labels = dataset.features["label"].names
    folds = chosen_folds(dataset, data_args.protocols, data_args.folds, emobox_root=data_args.emobox_root)
    teachers = {fold: Teacher.of_fold(distill_args.teacher, fold) for fold in folds}
    for fold, teacher in teachers.items():  # a leak in the last fold is told before the first one is trained
        teacher.refuse_leak(*split_each(dataset, data_args.protocols, fold, emobox_root=data_args.emobox_root))
        teacher.refuse_unfit(labels, label_map=distill_args.label_map)
    set_seed(training_args.seed)  # a random encoder that is frozen is the same one here and in every fold
    model, extractor = model_args.build(labels)
    with training_args.main_process_first():  # what does not change while training is computed once
        dataset = precompute(dataset, model.to(training_args.device), extractor, frozen=is_frozen(model))
        goes_on = save_arguments(run, data_args, model_args, distill_args, training_args)

    runs = []
    for fold, teacher in teachers.items():
        folder = run if len(folds) == 1 else run / f"fold{fold}"
        if goes_on and (folder / TEST).exists():
            runs.append(RunTables.read(folder))
            continue
        parts, protocol = split_each(dataset, data_args.protocols, fold, emobox_root=data_args.emobox_root)
        with training_args.main_process_first():
            answers = teacher.log_probabilities(
                parts["train"], label_map=distill_args.label_map, device=str(training_args.device)
            )
        set_seed(training_args.seed)
        model, extractor = model_args.build(labels)
        earlier = model_args.earlier_ledger().taught_by(teacher.ledger, teacher.name)
        ledger = earlier.continued(parts, protocol, fold=fold, seed=training_args.seed, scheme=data_args.scheme)
        fit_statistics(model.to(training_args.device), extractor, parts["train"])
        training_args.output_dir = str(folder)
        trainer = DistillationTrainer(
            model,
            training_args,
            distillation=distill_args,
            train_dataset=with_teacher_logits(parts["train"], answers),
            eval_dataset=parts["validation"],
            processing_class=extractor,
            ledger=ledger,
        )
        trainer.train(resume_from_checkpoint=last_checkpoint(folder))
        name = f"{model_args.model_name}, taught by {teacher.name}"
        facts = dict(fold=fold, seed=training_args.seed, model_name=name, trained_on=ledger.corpora)
        facts |= ledger.judged(protocol)
        validation = evaluate(model, extractor, parts["validation"], **facts, part="validation")
        validation = calibrate(model, validation)
        runs.append(RunTables(evaluate(model, extractor, parts["test"], **facts), validation))
        if trainer.is_world_process_zero():
            ledger.write(folder)
            write_curves(folder, trainer.state.log_history)
            save_run(folder, model, extractor, runs[-1], base_model=model_args.model_name)

    if training_args.should_save:
        print(conclude(run, runs).to_markdown())
        if repo_id is not None:
            print(push(run, repo_id, private=training_args.hub_private_repo, token=training_args.hub_token).url)


if __name__ == "__main__":
    run_recipe(main)
