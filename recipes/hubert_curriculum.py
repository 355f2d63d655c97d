"""A curriculum over corpora: acted speech first, harder speech later, with rehearsal against forgetting.

    accelerate launch recipes/hubert_curriculum.py                      # synthetic speech, a tiny HuBERT, offline
    accelerate launch recipes/hubert_curriculum.py recipes/configs/curriculum_iemocap.yaml --rehearsal_share 0

After every stage the model is scored on the unseen test speakers of every corpus: the forgetting table. The epoch of
each stage is chosen on the validation speakers of its own corpora, the temperature of the end on those of all corpora.
"""

from dataclasses import dataclass, field
from pathlib import Path

from transformers import set_seed

from ser_hf.data.arguments import DataArguments
from ser_hf.data.precompute import fit_statistics, precompute
from ser_hf.data.splits import split_each
from ser_hf.evaluation.forgetting import ForgettingTable
from ser_hf.evaluation.runs import RunTables
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.hub import destination_of_run, push, save_run
from ser_hf.inference.evaluate import calibrate, evaluate
from ser_hf.models.pretrained import build_classifier, is_frozen
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments
from ser_hf.training.curriculum import Stage, rehearse, select_corpora
from ser_hf.training.curves import write_curves
from ser_hf.training.parser import parse, run_recipe, save_arguments
from ser_hf.training.resume import last_checkpoint
from ser_hf.training.trainer import SERTrainer


@dataclass(kw_only=True)
class CurriculumArguments(DataArguments):
    stages: list[str] = field(
        metadata={"help": "Stages in order: a YAML list, or JSON objects, with name, corpora, epochs, learning_rate."}
    )
    rehearsal_share: float = field(
        default=0.2,
        metadata={
            "help": "Share of the utterances of each stage drawn from earlier stages, in [0, 1). 0 is the plain "
            "curriculum and its forgetting."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        if len(self.folds) > 1 or self.folds[0] < 0:
            raise ValueError(f"folds: {self.folds}, a curriculum runs on one fold, from 0: start it once for each")
        self.stage_list = [Stage.from_json(stage) for stage in self.stages]
        if sorted(self.corpora) != sorted(corpus for stage in self.stage_list for corpus in stage.corpora):
            raise ValueError(f"stages: each of the corpora {', '.join(self.corpora)} must be new in exactly one stage")
        if not 0 <= self.rehearsal_share < 1:
            raise ValueError(f"rehearsal_share: {self.rehearsal_share}, wanted a share in [0, 1)")
        self.learnt_in = {corpus: stage.name for stage in self.stage_list for corpus in stage.corpora}


def main() -> None:
    default = Path(__file__).parent / "configs" / "synthetic_curriculum.yaml"
    data_args, model_args, training_args = parse(
        CurriculumArguments, ModelArguments, SERTrainingArguments, default_config=default
    )
    run = Path(training_args.output_dir)
    publishes = training_args.push_to_hub and training_args.should_save
    if publishes:
        repo_id = destination_of_run(
            training_args.hub_model_id or run.name, folds=data_args.folds, token=training_args.hub_token
        )
    with training_args.main_process_first():
        dataset = data_args.load()
    set_seed(training_args.seed)
    labels = dataset.features["label"].names
    model, extractor = model_args.build(labels)
    with training_args.main_process_first():  # what does not change while training is computed once
        dataset = precompute(dataset, model.to(training_args.device), extractor, frozen=is_frozen(model))
    fold, seed, name = data_args.folds[0], training_args.seed, model_args.model_name
    parts, protocol = split_each(dataset, data_args.protocols, fold, emobox_root=data_args.emobox_root)
    ledger = model_args.earlier_ledger()
    with training_args.main_process_first():
        resumed = save_arguments(run, data_args, model_args, training_args)

    earlier, after_stage = [], {}
    for number, stage in enumerate(data_args.stage_list, start=1):
        folder = run / f"stage{number}-{stage.name}"
        predictions = folder / "predictions.parquet"
        current = select_corpora(parts["train"], stage.corpora)
        validation = select_corpora(parts["validation"], stage.corpora)
        heard = {"train": current, "validation": validation, "test": parts["test"]}
        ledger = ledger.continued(heard, protocol, fold=fold, seed=seed, scheme=data_args.scheme)
        if resumed and predictions.exists():
            table = PredictionTable.read(predictions)
            model, extractor = build_classifier(str(folder), labels, trainable=model_args.trainable)
        else:
            share = data_args.rehearsal_share if stage.rehearsal_share is None else stage.rehearsal_share
            train, weights, count = rehearse(current, earlier, share, training_args.balance)
            if not earlier:
                fit_statistics(model, extractor, current)
            model_args.adapt(model)  # those of the stage before are part of its weights now
            trainer = SERTrainer(
                model,
                stage.training_arguments(training_args, folder),
                train_dataset=train,
                eval_dataset=validation,
                processing_class=extractor,
                ledger=ledger,
                utterance_weights=weights,
                utterances_per_epoch=count,
            )
            trainer.train(resume_from_checkpoint=last_checkpoint(folder))
            trainer.save_model()
            table = evaluate(
                model, extractor, parts["test"], protocol, fold=fold, seed=seed, model_name=name,
                trained_on=ledger.corpora,
            )  # fmt: skip
            if training_args.should_save:
                write_curves(folder, trainer.state.log_history)
                table.write(predictions)
        after_stage[stage.name] = table
        earlier.append(current)

    facts = dict(fold=fold, seed=seed, model_name=name, trained_on=ledger.corpora)
    validation = evaluate(model, extractor, parts["validation"], protocol, **facts, part="validation")
    validation = calibrate(model, validation)
    table = evaluate(model, extractor, parts["test"], protocol, **facts)
    forgetting = ForgettingTable.from_tables(after_stage, learnt_in=data_args.learnt_in)
    if training_args.should_save:
        ledger.write(run)
        forgetting.write(run)
        report = save_run(run, model, extractor, RunTables(table, validation), base_model=name)
        print(report.to_markdown(), forgetting.to_markdown(), sep="\n\n")
    if publishes:
        print(push(run, repo_id, private=training_args.hub_private_repo, token=training_args.hub_token).url)


if __name__ == "__main__":
    run_recipe(main)
