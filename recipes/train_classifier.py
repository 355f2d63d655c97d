"""Train any classifier on any corpora and judge it on speakers it has never heard.

    python recipes/train_classifier.py                                            # synthetic speech, offline
    accelerate launch recipes/train_classifier.py recipes/configs/ravdess_whisper.yaml --folds -1

One fold makes a run folder that works in `pipeline`; several make one each, and a pooled report above them. Run again
after an interruption: finished folds are kept.
"""

from pathlib import Path

from transformers import set_seed

from ser_hf.data.precompute import embed_dataset, fit_head_statistics
from ser_hf.data.splits import count_folds, split_each
from ser_hf.evaluation.report import EvaluationReport
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.hub import save_run
from ser_hf.inference.evaluate import evaluate
from ser_hf.models.pretrained import build_classifier
from ser_hf.training.arguments import DataArguments, ModelArguments, SERTrainingArguments
from ser_hf.training.parser import parse, save_arguments
from ser_hf.training.trainer import SERTrainer


def main() -> None:
    default = Path(__file__).parent / "configs" / "synthetic_classifier.yaml"
    data_args, model_args, training_args = parse(
        DataArguments, ModelArguments, SERTrainingArguments, default_config=default
    )
    run = Path(training_args.output_dir)
    finished = save_arguments(run, data_args, model_args, training_args)

    dataset = data_args.load()
    labels = dataset.features["label"].names
    encoder, extractor = build_classifier(model_args.model_name_or_path, labels, trainable=model_args.trainable)
    if model_args.trainable == "head" and hasattr(encoder, "embed"):
        with training_args.main_process_first():  # a frozen encoder sees every utterance once, not once per epoch
            dataset = embed_dataset(dataset, encoder.to(training_args.device), extractor)

    folds = data_args.folds
    if folds == [-1]:
        root = data_args.emobox_root
        folds = range(max(count_folds(dataset, name, emobox_root=root) for name in data_args.protocols))
    tables = []
    for fold in folds:
        folder = run if len(folds) == 1 else run / f"fold{fold}"
        if (folder / "predictions.parquet").exists() and finished:
            tables.append(PredictionTable.read(folder / "predictions.parquet"))
            continue
        parts, protocol = split_each(dataset, data_args.protocols, fold, emobox_root=data_args.emobox_root)
        set_seed(training_args.seed)
        model, extractor = build_classifier(model_args.model_name_or_path, labels, trainable=model_args.trainable)
        fit_head_statistics(model.to(training_args.device), extractor, parts["train"])
        training_args.output_dir = str(folder)
        trainer = SERTrainer(
            model,
            training_args,
            train_dataset=parts["train"],
            eval_dataset=parts["validation"],
            processing_class=extractor,
        )
        trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        name, seed = model_args.model_name, training_args.seed
        table = evaluate(model, extractor, parts["test"], protocol, fold=fold, seed=seed, model_name=name)
        tables.append(table)
        if trainer.is_world_process_zero():
            save_run(folder, model, extractor, table, base_model=name)

    pooled = PredictionTable.pool(tables)
    report = EvaluationReport.from_table(pooled)
    if training_args.should_save and len(folds) > 1:
        pooled.write(run / "predictions.parquet")
        report.write(run)
    print(report.to_markdown())


if __name__ == "__main__":
    main()
