"""Runs as separate processes: killed in the middle and started again, and on two processes at once."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from safetensors.torch import load_file

from ser_hf.evaluation.chapters.calibration import tempered
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.training.callbacks import last_checkpoint

RECIPE = [str(ROOT / "recipes/train_classifier.py")]
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
QUIET = ["--report_to", "none", "--disable_tqdm", "true", "--use_cpu", "true", "--allow_partial", "true"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small")]


def environment(**more):
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | more


def fsdp():
    """What `accelerate launch --config_file recipes/accelerate/fsdp.yaml` hands to its processes."""
    config = yaml.safe_load((ROOT / "recipes/accelerate/fsdp.yaml").read_text())
    assert config["distributed_type"] == "FSDP"
    names = {name.upper(): str(value) for name, value in config["fsdp_config"].items()}
    return {"ACCELERATE_USE_FSDP": "true", **names}


@pytest.fixture(scope="module")
def one(prepared):
    """The command of the recipe."""
    return [*prepared.python, *RECIPE]


@pytest.fixture(scope="module")
def two(prepared):
    """The command of the recipe in two processes, each of which torchrun starts as it would start Python."""
    return [*prepared.python, *TWO, "--no-python", *prepared.python, *RECIPE]


def run(command, *words, **more):
    done = subprocess.run([*command, *QUIET, *map(str, words)], env=environment(**more), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def probabilities(folder):
    """As they were trained: a temperature evens the scores of a model that has hardly learned, which hides much."""
    rows = PredictionTable.read(folder / "predictions.parquet").rows.sort_values("utterance_id")
    return tempered(rows.filter(like="p_").to_numpy(), 1 / rows["temperature"].to_numpy())


def test_a_run_that_is_killed_in_mid_epoch_ends_in_the_table_of_an_unbroken_one(one, tmp_path):
    """Dropout, weighted draws, averaged weights and the best checkpoint: all of them go on where they were."""
    options = [
        "--model_name_or_path", "tiny-whisper", "--max_steps", "10", "--eval_strategy", "steps", "--eval_steps",
        "4", "--save_strategy", "steps", "--save_steps", "4", "--save_total_limit", "2", "--balance", "class",
        "--ema_decay", "0.9", "--learning_rate", "0.003", "--per_device_train_batch_size", "8",
    ]  # fmt: skip
    run(one, "--output_dir", tmp_path / "whole", *options)

    broken = tmp_path / "broken"
    process = subprocess.Popen(
        [*one, *QUIET, "--output_dir", str(broken), *options], env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and last_checkpoint(broken) is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()  # until nobody has its output open: the process behind the command is dead, too
    assert process.returncode == -signal.SIGKILL, "it was killed, it had not ended"
    assert not (broken / "predictions.parquet").exists()
    step = int(last_checkpoint(broken).rpartition("-")[2])
    steps_per_epoch = 15
    assert step % steps_per_epoch, "in the middle of an epoch"

    told = run(one, "--output_dir", broken, *options)
    assert "UAR" in told.stdout
    np.testing.assert_allclose(probabilities(broken), probabilities(tmp_path / "whole"), atol=1e-6)
    assert probabilities(broken).std() > 0.05, "scores that are all alike would be equal anyway"


@pytest.fixture(scope="module")
def sixteen_a_step(one, tmp_path_factory):
    """One process; tiny-hubert has no dropout that two processes would draw otherwise."""
    folder = tmp_path_factory.mktemp("one") / "run"
    run(one, "--output_dir", folder, "--per_device_train_batch_size", "16", *SIXTEEN)
    return folder


SIXTEEN = [
    "--model_name_or_path", "tiny-hubert", "--max_steps", "8", "--learning_rate", "0.02", "--eval_strategy", "steps",
    "--eval_steps", "4", "--save_strategy", "steps", "--save_steps", "4", "--weight_classes", "true",
]  # fmt: skip


@pytest.mark.parametrize("sharded", [False, True], ids=["whole on each", "sharded over both"])
def test_two_processes_end_in_the_table_of_one(sharded, two, sixteen_a_step, tmp_path):
    folder = tmp_path / "run"
    told = run(
        two, "--output_dir", folder, "--per_device_train_batch_size", "8", *SIXTEEN, **(fsdp() if sharded else {})
    )
    assert told.stdout.count("**UAR") == 1, "one process speaks for both"
    np.testing.assert_allclose(probabilities(folder), probabilities(sixteen_a_step), atol=1e-5)
    assert probabilities(folder).std() > 0.02, "scores that are all alike would be equal anyway"
    ours, theirs = (load_file(one / "model.safetensors") for one in (folder, sixteen_a_step))
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, atol=1e-4, rtol=0)


def test_two_lone_worlds_are_refused():
    """Without --use_cpu, torchrun on a machine without GPUs starts two trainings that know nothing of each other."""
    command, hidden = [sys.executable, *TWO, *RECIPE, "--output_dir", "x"], environment(CUDA_VISIBLE_DEVICES="")
    done = subprocess.run(command, env=hidden, capture_output=True, text=True)
    assert done.returncode != 0
    assert "each would train alone" in done.stderr


AUGMENTED = [
    "--model_name_or_path", "tiny-hubert", "--max_steps", "3", "--learning_rate", "0.003", "--eval_strategy", "no",
    "--save_strategy", "no", "--load_best_model_at_end", "false",
]  # fmt: skip


def test_two_processes_hear_the_same_augmentation_as_one(one, two, tmp_path):
    """A partner from the batch, or a draw from a generator of the process, would be another one on two of them."""
    words = ["--augment", "noise=0..10", "speed=0.9..1.1", "mixup=1", "--balance", "class", "--augment_rare_classes",
             "true"]  # fmt: skip
    run(one, "--output_dir", tmp_path / "one", "--per_device_train_batch_size", "16", *AUGMENTED, *words)
    run(two, "--output_dir", tmp_path / "two", "--per_device_train_batch_size", "8", *AUGMENTED, *words)
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, atol=1e-4, rtol=0)
