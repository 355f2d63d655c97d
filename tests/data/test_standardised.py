"""A corpus standardised by its own training part: what all of its recordings share is gone; no other part is asked."""

from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Array2D, Dataset, DatasetDict, Features, Value
from sklearn.preprocessing import StandardScaler

from ser_hf.data.columns import as_numpy
from ser_hf.data.statistics import standardised

# The model type stands for the family, whose record says that its encoder's output is cached as `layer_statistics`.
CONFIG = SimpleNamespace(model_type="ser_speech_encoder", pooling="statistics")
MODEL = SimpleNamespace(cached_shape=(2, 3), config=CONFIG)


def parts_of(values):
    features = Features({"utterance_id": Value("string"), "layer_statistics": Array2D((2, 3), "float32")})
    return DatasetDict({
        part: as_numpy(
            Dataset.from_dict({"utterance_id": [*map(str, range(len(rows)))], "layer_statistics": rows}, features)
        )
        for part, rows in values.items()
    })  # fmt: skip


@pytest.fixture
def values():
    random = np.random.default_rng(0)
    return {part: random.normal(5, 3, (n, 2, 3)) for part, n in (("train", 40), ("validation", 7), ("test", 9))}


def test_every_part_is_scaled_by_the_training_part_as_scikit_learn_would(values):
    oracle = StandardScaler().fit(values["train"].reshape(40, 6))
    unbiased = np.sqrt(39 / 40)
    for part, rows in standardised(parts_of(values), MODEL).items():
        wanted = unbiased * oracle.transform(values[part].reshape(-1, 6))
        np.testing.assert_allclose(np.stack(rows[:]["layer_statistics"]).reshape(-1, 6), wanted, atol=1e-5)
        assert rows["utterance_id"] == [*map(str, range(len(rows)))]


def test_two_corpora_that_differ_by_a_room_alone_become_alike(values):
    far = {part: 0.2 * rows - 4 for part, rows in values.items()}
    one, other = (standardised(parts_of(rows), MODEL) for rows in (values, far))
    for part in one:
        np.testing.assert_allclose(
            np.stack(one[part][:]["layer_statistics"]), np.stack(other[part][:]["layer_statistics"]), atol=1e-4
        )


def test_a_model_that_caches_nothing_of_fixed_size_is_refused(values):
    attentive = SimpleNamespace(model_type=CONFIG.model_type, pooling="attentive")
    for strange in ({"config": attentive}, {"cached_shape": (None, 3)}):
        with pytest.raises(ValueError, match="own_statistics: the head of this ser_speech_encoder"):
            standardised(parts_of(values), SimpleNamespace(**{**vars(MODEL), **strange}))
