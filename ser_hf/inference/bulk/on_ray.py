"""Blocks of recordings that are scored by the workers of a Ray cluster, through Ray Data.

One process of the cluster reads the recordings, and hands them out in blocks. Each worker loads the model once. Blocks
come back in their order, and the process that asked for them writes the table, as it does without a cluster: so the
table is the same, an interrupted run goes on with the same journal, and speakers are adapted to in order.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from itertools import islice
from typing import Any

from ...files import one_line
from ...models.family import ModelError
from ...options import OptionError
from ..classifier import Classifier
from .journal import BulkError
from .recordings import Named
from .scoring import Block, Scoring


def require_ray() -> None:
    """Raise an `OptionError` if Ray is not installed."""
    if find_spec("ray") is None:
        raise OptionError('--engine ray needs the extra: pip install "ser_hf[ray]"')


@dataclass(frozen=True)
class RayWorkers:
    """Workers of a Ray cluster: that of `$RAY_ADDRESS` or of this machine, or a new one with its processors.

    There is a worker for each accelerator of the cluster, or else for each processor. Recordings and the model must be
    readable on all machines of the cluster: by paths that all of them share, by URLs, or from the Hub.

    Args:
        model, trust_remote_code: as in `Classifier.from_pretrained`.
        computing: its `device`, `backend` and `dtype`.

    Raises:
        OptionError: if Ray is not installed.
    """

    model: str
    trust_remote_code: bool = False
    computing: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self):
        require_ray()

    def scored(
        self,
        recordings: Iterable[tuple],
        done: int,
        block_size: int,
        digest: str,
        scoring: type[Scoring],
        options: dict[str, Any],
    ) -> Iterator[tuple[Block, list[Any]]]:
        """Yield blocks in their order, without their sound, with what `Scoring.score` returns for each.

        Args:
            recordings: something that can be pickled and iterated, as `predict_to_table` takes it.
            done: number of recordings that are left out, the first ones.
            digest: of the classifier, which must be that of the workers.
            options: of `scoring`.

        Raises:
            ModelError: if a worker has another model under the name, or as a `Classifier`.
            BulkError: if the cluster fails.
        """
        import ray
        from ray.data import ActorPoolStrategy, DataContext, from_items
        from ray.exceptions import RayError

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        is_ours = not ray.is_initialized()
        if is_ours:
            ray.init(log_to_driver=False, logging_level="ERROR")
        try:
            context = DataContext.get_current().copy()
            context.execution_options.preserve_order = True
            context.target_max_block_size = 1  # byte: each block of ours is one of Ray's, which a free worker takes
            context.enable_progress_bars = context.print_on_execution_start = False
            device, backend = self.computing.get("device"), self.computing.get("backend", "torch")
            is_on_gpu = device not in ("cpu", None) or (
                device is None and backend == "torch" and ray.cluster_resources().get("GPU", 0) > 0
            )
            most = max(1, int(ray.cluster_resources().get("GPU" if is_on_gpu else "CPU", 1)))
            with DataContext.current(context):
                blocks = from_items([done]).map_batches(
                    _Reader, fn_constructor_args=(recordings, block_size), batch_size=1, num_cpus=0,
                    compute=ActorPoolStrategy(size=1),
                ).map_batches(
                    _Worker, fn_constructor_args=(self, digest, scoring, options), batch_size=1,
                    num_cpus=0 if is_on_gpu else 1, num_gpus=1 if is_on_gpu else 0,
                    compute=ActorPoolStrategy(min_size=1, max_size=most, initial_size=most),
                )  # fmt: skip
                for row in blocks.iter_rows():
                    block = pickle.loads(row["block"])
                    if isinstance(block, Exception):
                        raise block
                    yield block, pickle.loads(row["scored"])
        except RayError as error:
            raise BulkError(f"the Ray cluster failed ({one_line(error)}): run the same command again") from error
        finally:
            if is_ours:
                ray.shutdown()


class _Reader:
    """Yields blocks of recordings, or the error that ends them: Ray would wrap it in its own words."""

    def __init__(self, recordings: Iterable[tuple], block_size: int):
        self._recordings, self._block_size = recordings, block_size

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, list[bytes]]]:
        left = islice((Named(*one) for one in self._recordings), int(batch["item"][0]), None)
        try:
            while block := list(islice(left, self._block_size)):
                yield {"block": [pickle.dumps(block)]}
        except (ValueError, OSError) as error:
            yield {"block": [pickle.dumps(error)]}


class _Worker:
    """Scores blocks; errors are passed on in place of a block."""

    def __init__(self, workers: RayWorkers, digest: str, scoring: type[Scoring], options: dict[str, Any]):
        self._workers, self._digest, self._scoring_of, self._options = workers, digest, scoring, options

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        block, scored = pickle.loads(batch["block"][0]), []
        try:
            if not isinstance(block, Exception):
                scored = self._scoring.score(block)
                block = [one._replace(recording=None) for one in block]
        except (ValueError, OSError) as error:
            block = error
        return {"block": [pickle.dumps(block)], "scored": [pickle.dumps(scored)]}

    @cached_property
    def _scoring(self) -> Scoring:
        model = self._workers.model
        classifier = Classifier.from_pretrained(
            model, trust_remote_code=self._workers.trust_remote_code, **self._workers.computing
        )
        if classifier.digest != self._digest:
            raise ModelError(f"a machine of the cluster has another model under {model}: copy it there again")
        return self._scoring_of(classifier, **self._options)
