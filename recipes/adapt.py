"""Adapt a classifier to a corpus whose labels it never sees, and judge it on speakers of that corpus it never heard.

    python recipes/adapt.py                                                       # synthetic speech, offline
    python recipes/adapt.py recipes/configs/adapt_synthetic.yaml --method none    # the control: the source alone
    python recipes/adapt.py --adapt_from synthetic_spontaneous --adapt_to synthetic --output_dir runs/back

The source's training part is learned with its labels, the target's without. Nothing is chosen on the target: epoch and
temperature are those that suit validation speakers of the source, so that a report's calibration is the source's too.
The run folder holds the test speakers of the target, its folder `source` those of the source.
"""

from dataclasses import dataclass, field
from pathlib import Path

from transformers import set_seed

from ser_hf.data.arguments import DataArguments
from ser_hf.data.precompute import fit_statistics, precompute
from ser_hf.data.splits import chosen_folds, split_each
from ser_hf.evaluation.runs import RunTables
from ser_hf.hub import destination_of_run, push, save_run
from ser_hf.inference.evaluate import calibrate, evaluate
from ser_hf.models.pretrained import is_frozen
from ser_hf.training.adaptation import AdaptationArguments, AdaptationTrainer
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments
from ser_hf.training.curriculum import select_corpora
from ser_hf.training.curves import write_curves
from ser_hf.training.parser import parse, run_recipe, save_arguments
from ser_hf.training.resume import last_checkpoint


@dataclass(kw_only=True)
class DomainArguments(DataArguments):
    adapt_from: list[str] = field(metadata={"help": "Corpora of the source domain, whose labels are learned."})
    adapt_to: list[str] = field(metadata={"help": "Corpora of the target domain, whose labels are never looked at."})

    def __post_init__(self):
        super().__post_init__()
        if sorted(self.corpora) != sorted([*self.adapt_from, *self.adapt_to]):
            raise ValueError(
                f"adapt_from, adapt_to: each of the corpora {', '.join(self.corpora)} belongs in exactly one of them"
            )


def main() -> None:
    default = Path(__file__).parent / "configs" / "adapt_synthetic.yaml"
    data_args, model_args, adapt_args, training_args = parse(
        DomainArguments, ModelArguments, AdaptationArguments, SERTrainingArguments, default_config=default
    )
    run = Path(training_args.output_dir)
    publishes = training_args.push_to_hub and training_args.should_save
    if publishes:
        repo_id = destination_of_run(
            training_args.hub_model_id or run.name, folds=data_args.folds, token=training_args.hub_token
        )
    with training_args.main_process_first():
        dataset = data_args.load()
    labels = dataset.features["label"].names
    folds = chosen_folds(dataset, data_args.protocols, data_args.folds, emobox_root=data_args.emobox_root)
    set_seed(training_args.seed)  # a random encoder that is frozen is the same one here and in every fold
    model, extractor = model_args.build(labels)
    with training_args.main_process_first():  # what does not change while training is computed once
        dataset = precompute(dataset, model.to(training_args.device), extractor, frozen=is_frozen(model))
        finished = save_arguments(run, data_args, model_args, adapt_args, training_args)

    on_target, on_source = [], []
    for fold in folds:
        folder = run if len(folds) == 1 else run / f"fold{fold}"
        if (folder / "predictions.parquet").exists() and finished:
            on_target.append(RunTables.read(folder))
            on_source.append(RunTables.read(folder / "source"))
            continue
        parts, protocol = split_each(dataset, data_args.protocols, fold, emobox_root=data_args.emobox_root)
        source, target = (
            {part: select_corpora(rows, corpora) for part, rows in parts.items()}
            for corpora in (data_args.adapt_from, data_args.adapt_to)
        )
        heard = source["train"] if adapt_args.method == "none" else parts["train"]  # without its labels, but heard
        set_seed(training_args.seed)
        model, extractor = model_args.build(labels)
        ledger = model_args.earlier_ledger().continued(
            {"train": heard, "validation": source["validation"], "test": parts["test"]},
            protocol, fold=fold, seed=training_args.seed, scheme=data_args.scheme,
        )  # fmt: skip
        fit_statistics(model.to(training_args.device), extractor, source["train"])
        training_args.output_dir = str(folder)
        trainer = AdaptationTrainer(
            model,
            training_args,
            adaptation=adapt_args,
            train_dataset=source["train"],
            target_dataset=target["train"],
            eval_dataset=source["validation"],
            processing_class=extractor,
            ledger=ledger,
        )
        trainer.train(resume_from_checkpoint=last_checkpoint(folder))
        name = f"{model_args.model_name}, {adapt_args.method}"
        facts = dict(fold=fold, seed=training_args.seed, model_name=name, trained_on=ledger.corpora)
        validation = evaluate(model, extractor, source["validation"], protocol, **facts, part="validation")
        validation = calibrate(model, validation)
        on_source.append(RunTables(evaluate(model, extractor, source["test"], protocol, **facts), validation))
        on_target.append(RunTables(evaluate(model, extractor, target["test"], protocol, **facts), validation))
        if trainer.is_world_process_zero():
            ledger.write(folder)
            write_curves(folder, trainer.state.log_history)
            on_source[-1].report().write(folder / "source")
            on_source[-1].write(folder / "source")
            save_run(folder, model, extractor, on_target[-1], base_model=model_args.model_name)

    if training_args.should_save:
        for place, runs in ((run / "source", on_source), (run, on_target)):
            pooled = RunTables.pool(runs)
            report = pooled.report()
            if len(folds) > 1:
                report.write(place)
                pooled.write(place)
            print(report.to_markdown())
        if publishes:
            print(push(run, repo_id, private=training_args.hub_private_repo, token=training_args.hub_token).url)


if __name__ == "__main__":
    run_recipe(main)
