"""How often the 95 % interval of a UAR holds the true one, where utterances of a speaker err together.

    python benchmarks/interval_coverage.py [REPLICATIONS]      # 2000 for each cell, some minutes on one core

Simulated test sets: 4, 9, 10, 24 and 91 speakers; true UAR 0.5 to 0.95; four classes of 15 utterances a speaker, eight
of 8, or six of 20 to 2 that are not equally hard. Speakers differ "evenly" (beta-distributed recalls whose utterances
correlate by 0.02, 0.05 or 0.15) or "unevenly": 15 % of them are recognised half as well as the rest. Every cell shows
the least and the greatest coverage over these worlds; widths are means. Goal: 93 to 97 % from 10 speakers on.
"""

import sys
from itertools import product

import numpy as np
from scipy.special import expit, logit
from scipy.stats import beta
from scipy.stats import t as student

from ser_hf.evaluation.intervals import rate_interval

SPEAKERS, RATES = (4, 9, 10, 24, 91), (0.5, 0.63, 0.75, 0.86, 0.95)
UTTERANCES = {"4 equal": np.full(4, 15), "8 equal": np.full(8, 8), "6 unequal": np.array([20, 16, 10, 8, 4, 2])}
CORRELATIONS, HARD = (0.02, 0.05, 0.15), 0.15
RANKS = np.unique(np.r_[np.logspace(-7, -3, 400), np.linspace(0.001, 0.999, 4000), 1 - np.logspace(-3, -7, 400)])


def class_recalls(classes: str, uar: float) -> np.ndarray:
    """True recalls with a wanted mean; unequal classes are 1.6 apart in log-odds."""
    count = len(UTTERANCES[classes])
    spread = np.zeros(count) if classes == "4 equal" else np.linspace(-0.8, 0.8, count)
    shifts = np.linspace(-6, 8, 20_001)
    return expit(spread + shifts[np.argmin(np.abs(expit(spread + shifts[:, None]).mean(axis=1) - uar))])


def speaker_recalls(random, recalls: np.ndarray, shape: tuple[int, int], world: float | str) -> np.ndarray:
    """(replications, speakers, classes): a speaker is as good or bad in every class."""
    if world == "uneven":
        easy = np.minimum(recalls * (1 - HARD / 2) / (1 - HARD), 0.999)
        hard = (recalls - (1 - HARD) * easy) / HARD  # the population's mean stays what it is
        return np.where((random.random(shape) < HARD)[..., None], hard, easy)
    size = 1 / world - 1
    rank = random.random(shape)
    return np.stack([np.interp(rank, RANKS, beta.ppf(RANKS, one * size, (1 - one) * size)) for one in recalls], axis=-1)


def judge(random, speakers: int, uar: float, classes: str, world: float | str, replications: int):
    """True UAR; estimated UAR and jackknife standard error of each replication; equal utterances that tell as much."""
    each = UTTERANCES[classes]
    recalls = class_recalls(classes, uar)
    right = random.binomial(each, speaker_recalls(random, recalls, (replications, speakers), world))
    total = right.sum(axis=1)
    estimate = (total / (speakers * each)).mean(axis=-1)
    without = ((total[:, None] - right) / ((speakers - 1) * each)).mean(axis=-1)
    away = without - without.mean(axis=1, keepdims=True)
    error = np.sqrt((speakers - 1) / speakers * (away**2).sum(axis=1))
    return recalls.mean(), estimate, error, speakers * len(each) ** 2 / np.sum(1 / each)


def symmetric(estimate, error, speakers, utterances):
    reach = student.ppf(0.975, speakers - 1) * error
    return np.maximum(0, estimate - reach), np.minimum(1, estimate + reach)


def log_odds(estimate, error, speakers, utterances):
    inside = np.clip(estimate, 1e-9, 1 - 1e-9)
    reach = student.ppf(0.975, speakers - 1) * error / (inside * (1 - inside))
    return expit(logit(inside) - reach), expit(logit(inside) + reach)


def wilson(estimate, error, speakers, utterances):
    quantile = student.ppf(0.975, speakers - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.minimum(np.where(error > 0, estimate * (1 - estimate) / error**2, np.inf), utterances)
    middle = (estimate * size + quantile**2 / 2) / (size + quantile**2)
    reach = quantile * np.sqrt(estimate * (1 - estimate) * size + quantile**2 / 4) / (size + quantile**2)
    return middle - reach, middle + reach


def effective(estimate, error, speakers, utterances):
    return rate_interval(estimate, error, speakers=speakers, utterances=utterances)


METHODS = {"symmetric": symmetric, "log-odds": log_odds, "Wilson": wilson, "effective (ours)": effective}


def main(replications: int) -> None:
    coverage, width = {}, {}
    for speakers, uar, classes, world in product(SPEAKERS, RATES, UTTERANCES, (*CORRELATIONS, "uneven")):
        random = np.random.default_rng(0)
        truth, estimate, error, utterances = judge(random, speakers, uar, classes, world, replications)
        kind = "uneven" if world == "uneven" else "even"
        for name, method in METHODS.items():
            low, high = method(estimate, error, speakers, utterances)
            cell = name, kind, speakers, uar
            coverage.setdefault(cell, []).append(np.mean((low <= truth) & (truth <= high)))
            width.setdefault(cell, []).append(np.mean(high - low))
    for name, kind in product(METHODS, ("even", "uneven")):
        print(f"\n{name}, speakers differ {kind}ly: coverage, least-greatest, and mean width")
        print("speakers  " + "  ".join(f"{f'UAR {uar}':^18}" for uar in RATES))
        for speakers in SPEAKERS:
            cells = [(name, kind, speakers, uar) for uar in RATES]
            row = (f"{min(coverage[c]):.3f}-{max(coverage[c]):.3f} {np.mean(width[c]):.3f}" for c in cells)
            print(f"{speakers:8}  " + "  ".join(f"{text:^18}" for text in row))
    print("\nCOVERAGE = {")
    for speakers in SPEAKERS:
        least = {
            uar: tuple(
                round(float(min(coverage["effective (ours)", kind, speakers, uar])), 3) for kind in ("even", "uneven")
            )
            for uar in RATES
        }
        print(f"    {speakers}: {least},")
    print("}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
