"""Train any classifier on any corpora and judge it on speakers it has never heard.

    python recipes/train_classifier.py                                            # synthetic speech, offline
    accelerate launch recipes/train_classifier.py recipes/configs/ravdess_whisper.yaml --folds -1

One fold makes a run folder that works in `pipeline`; several make one each, and a pooled report above them. Run again
after an interruption: finished folds are kept. A temperature that is fitted on the validation speakers ends in the
weights, so that the scores of every pipeline are calibrated.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers import set_seed

from ser_hf.data.arguments import DataArguments
from ser_hf.data.precompute import fit_statistics, precompute
from ser_hf.hub.push import destination_of_run, push, save_run
from ser_hf.inference.evaluate import calibrate, evaluate
from ser_hf.models.pretrained import is_frozen
from ser_hf.report.runs import TEST, RunTables, conclude
from ser_hf.splits.split import chosen_folds, split_each
from ser_hf.training.adversary import AdversarialTrainingArguments, SpeakerAdversarialTrainer
from ser_hf.training.arguments import ModelArguments
from ser_hf.training.curves import write_curves
from ser_hf.training.parser import parse, run_recipe, save_arguments
from ser_hf.training.resume import last_checkpoint


def main(argv: Sequence[str] | None = None) -> None:
    default = Path(__file__).parent / "configs" / "synthetic_classifier.yaml"
    data_args, model_args, training_args = parse(
        DataArguments, ModelArguments, AdversarialTrainingArguments, default_config=default, argv=argv
    )
    run = Path(training_args.output_dir)
    repo_id = destination_of_run(training_args, folds=data_args.folds)
    with training_args.main_process_first():
        dataset = data_args.load()
    labels = dataset.features["label"].names
    folds = chosen_folds(dataset, data_args.protocols, data_args.folds, emobox_root=data_args.emobox_root)
    set_seed(training_args.seed)  # a random encoder that is frozen is the same one here and in every fold
    model, extractor = model_args.build(labels)
    with training_args.main_process_first():  # what does not change while training is computed once
        dataset = precompute(dataset, model.to(training_args.device), extractor, frozen=is_frozen(model))
        goes_on = save_arguments(run, data_args, model_args, training_args)

    runs = []
    for fold in folds:
        folder = run if len(folds) == 1 else run / f"fold{fold}"
        if goes_on and (folder / TEST).exists():
            runs.append(RunTables.read(folder))
            continue
        parts, protocol = split_each(dataset, data_args.protocols, fold, emobox_root=data_args.emobox_root)
        set_seed(training_args.seed)
        model, extractor = model_args.build(labels)
        ledger = model_args.earlier_ledger().continued(
            parts, protocol, fold=fold, seed=training_args.seed, scheme=data_args.scheme
        )
        fit_statistics(model.to(training_args.device), extractor, parts["train"])
        training_args.output_dir = str(folder)
        trainer = SpeakerAdversarialTrainer(
            model,
            training_args,
            train_dataset=parts["train"],
            eval_dataset=parts["validation"],
            processing_class=extractor,
            ledger=ledger,
        )
        trainer.train(resume_from_checkpoint=last_checkpoint(folder))
        name = model_args.model_name
        facts = dict(fold=fold, seed=training_args.seed, model_name=name, trained_on=ledger.corpora)
        facts |= ledger.judged(protocol)
        validation = evaluate(model, extractor, parts["validation"], **facts, part="validation")
        validation = calibrate(model, validation)
        runs.append(RunTables(evaluate(model, extractor, parts["test"], **facts), validation))
        if trainer.is_world_process_zero():
            ledger.write(folder)
            write_curves(folder, trainer.state.log_history)
            save_run(folder, model, extractor, runs[-1], base_model=name)

    if training_args.should_save:
        print(conclude(run, runs).to_markdown())
        if repo_id is not None:
            print(push(run, repo_id, private=training_args.hub_private_repo, token=training_args.hub_token).url)


if __name__ == "__main__":
    run_recipe(main)
