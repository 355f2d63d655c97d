"""The number format that a model computes in: float32, or bfloat16 where that is faster."""

from __future__ import annotations

import time
from functools import cache

import torch

from ..models.family import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
AUTO = "auto"
LEAST_GAIN = 1.2  # of the products; below it, what a model gains is lost again in conversions
_SIZE, _TRIES = 1024, 5  # of the matrices


def dtype_of(name: str | torch.dtype, device: str = "cpu") -> torch.dtype:
    """Return the number format of a name; "auto" multiplies matrices in both, once for each device.

    Args:
        name: one of `DTYPES`, "auto", or a dtype of torch.

    Raises:
        ModelError: for another one.

    >>> dtype_of("bfloat16")
    torch.bfloat16
    """
    if name == AUTO:
        gain = seconds_of_product(torch.float32, device) / seconds_of_product(torch.bfloat16, device)
        return torch.bfloat16 if gain >= LEAST_GAIN else torch.float32
    if (plain := str(name).removeprefix("torch.")) not in DTYPES:
        raise ModelError(f"dtype must be {', '.join(DTYPES)} or {AUTO}, not {plain!r}")
    return DTYPES[plain]


@cache
def seconds_of_product(dtype: torch.dtype, device: str) -> float:
    """Return the least time that a product of two matrices takes, in seconds."""
    one = torch.ones(_SIZE, _SIZE, dtype=dtype, device=device)
    spent = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        product = one @ one
        float(product[0, 0])  # waits for an accelerator
        spent.append(time.perf_counter() - start)
    return min(spent)


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor on a device. A GPU copies it from pinned memory, while the processor goes on."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
