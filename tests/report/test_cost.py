import json
import statistics

import numpy as np
from safetensors.numpy import save_file

from ser_hf.report.cost import cost_of, write_cost


def put(folder, shapes, seconds=(), file="model.safetensors"):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"t{number}": np.zeros(shape, np.float16) for number, shape in enumerate(shapes)}
    save_file(tensors, folder / file, metadata={"format": "pt"})
    history = [{"epoch": number + 1.0, "epoch_seconds": one} for number, one in enumerate(seconds)]
    if history:
        (folder / "history.json").write_text(json.dumps([*history, {"train_runtime": 1.0}]))
    return sum(tensor.size for tensor in tensors.values())


def test_the_size_is_every_number_of_the_weights_a_scalar_too_and_of_all_their_pieces(tmp_path):
    size = put(tmp_path, [(3, 5), (7,), ()], file="model-00001-of-00002.safetensors")
    assert size == 23
    size += put(tmp_path, [(2, 2, 2)], file="model-00002-of-00002.safetensors")
    assert cost_of([tmp_path]) == {"numbers": size, "epoch_seconds": None, "epochs": None}


def test_folds_and_seeds_are_one_model_and_the_median_of_all_their_epochs(tmp_path):
    seconds = {0: (3.0, 1.0, 1.5), 1: (2.0, 9.0)}
    for seed in range(2):
        for fold, each in seconds.items():
            size = put(tmp_path / f"seed{seed}/fold{fold}", [(4, 4)], each)
    every = [one for each in seconds.values() for one in each]
    wanted = {"numbers": size, "epoch_seconds": statistics.median(every), "epochs": 3.0}
    assert cost_of([tmp_path / "seed0"]) == cost_of([tmp_path / "seed0", tmp_path / "seed1"]) == wanted
    write_cost(tmp_path / "seed0")
    assert json.loads((tmp_path / "seed0/cost.json").read_text()) == wanted


def test_predictions_alone_cost_nobody_knows_what(tmp_path):
    assert set(cost_of([tmp_path]).values()) == {None}
