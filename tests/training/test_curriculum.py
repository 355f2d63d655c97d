import numpy as np
import pytest
import torch

from ser_hf.data.balance import draw
from ser_hf.training.curriculum import CurriculumArguments, Stage, rehearse


def test_without_rehearsal_a_stage_is_its_own_corpora(synthetic):
    rows, weights, count = rehearse(synthetic.select(range(10)), [], 0.5, "none")
    assert count == len(rows) == len(weights) == 10


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.8])
def test_rehearsal_has_its_share_and_costs_the_new_utterances_nothing(synthetic, share):
    current, earlier = (
        synthetic.select(range(100)),
        [synthetic.select(range(100, 220)), synthetic.select(range(220, 300))],
    )
    rows, weights, count = rehearse(current, earlier, share, "none")
    drawn = np.bincount(draw(weights, count, torch.Generator().manual_seed(0)), minlength=len(rows))
    assert (drawn[:100] == 1).all(), "every new utterance exactly once per epoch"
    assert drawn[100:].sum() / count == pytest.approx(share, abs=1 / count)


def test_rehearsal_keeps_its_share_under_oversampling(synthetic):
    labels = np.asarray(synthetic["label"])
    current = synthetic.select([*np.flatnonzero(labels == 0)[:30], *np.flatnonzero(labels == 1)[:10]])
    rows, weights, count = rehearse(current, [synthetic.select(range(100))], 0.25, "class", "oversampling")
    drawn = np.bincount(draw(weights, count, torch.Generator().manual_seed(0)), minlength=len(rows))
    assert count == 80
    assert (drawn[:30].sum(), drawn[30:40].sum(), drawn[40:].sum()) == (30, 30, 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": "a"}', "needs name and corpora"),
        ('{"name": "a", "corpora": ["b"], "epoch": 3}', "did you mean 'epochs'"),
        ('{"name": "a", "corpora": ["b"], "rehearsal_share": 1}', "rehearsal_share of a must be in"),
        ('{"name": "a", "corpora": ["b"], "epochs": 0}', "epochs of a must be above 0, not 0"),
        ('{"name": "a", "corpora": ["b"], "epochs": "many"}', "epochs of a must be a number, not 'many'"),
        ('{"name": "a", "corpora": ["b"], "learning_rate": -1e-3}', "learning_rate of a must be 0 or more"),
        ('{"name": "a", "corpora": "b"}', r"corpora of a must be a list, such as \[b\]"),
        ("name: a", "needs JSON objects"),
    ],
)
def test_a_malformed_stage_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Stage.from_json(text)


def test_stages_have_different_names():
    corpora = ["synthetic", "synthetic_spontaneous"]
    protocols = [f"{corpus}/si4" for corpus in corpora]
    stages = [f'{{"name": "acted", "corpora": ["{corpus}"]}}' for corpus in corpora]
    with pytest.raises(ValueError, match="--stages names 'acted' twice"):
        CurriculumArguments(corpora=corpora, scheme="five", protocols=protocols, stages=stages)
