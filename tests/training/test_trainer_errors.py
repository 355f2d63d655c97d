"""What ends a training before it spoils anything."""

import numpy as np
import pytest
import torch
from toys import PointClassifier, PointConfig, arguments, point_rows, weights

from ser_hf.training.trainer import SERTrainer, TrainingError


def test_a_loss_that_is_not_finite_ends_the_training_before_the_weights_change(tmp_path):
    points = np.random.default_rng(0).normal(size=(64, 12)).astype(np.float32)
    points[40] = np.nan
    rows = point_rows(points, [0, 1] * 32)
    model = PointClassifier(PointConfig(num_labels=2))
    options = arguments(tmp_path, num_train_epochs=2, per_device_train_batch_size=64)
    trainer = SERTrainer(model, options, train_dataset=rows, eval_dataset=None, processing_class=None)
    before = weights(model)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in step 1: use a smaller --learning_rate"):
        trainer.train()
    assert torch.equal(weights(model), before)
