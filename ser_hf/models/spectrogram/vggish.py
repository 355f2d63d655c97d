"""VGGish: the audio network of Hershey et al. (2017), arXiv:1609.09430, trained on the sound tracks of YouTube-8M."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

PATCH_FRAMES = 96  # 0.96 s at a hop of 10 ms
MEL_BINS = 64
CHANNELS = ((64,), (128,), (256, 256), (512, 512))  # of the convolutions between the poolings


class VGGish(nn.Module):
    """Embeds patches of 0.96 s and averages them over the clip.  (b, 1, frames, 64) -> (b, 128)

    The names of its parameters are those of the public PyTorch conversions (`features.0.weight`,
    `embeddings.0.weight`), so that their files load as they are.
    """

    num_features = 128

    def __init__(self):
        super().__init__()
        self.gradient_checkpointing = False
        layers, width = [], 1
        for block in CHANNELS:
            for channels in block:
                layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU(inplace=True)]
                width = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        flat = width * (PATCH_FRAMES // 16) * (MEL_BINS // 16)
        self.embeddings = nn.Sequential(
            nn.Linear(flat, 4096), nn.ReLU(inplace=True), nn.Linear(4096, 4096), nn.ReLU(inplace=True),
            nn.Linear(4096, self.num_features), nn.ReLU(inplace=True),
        )  # fmt: skip

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        self.gradient_checkpointing = enable

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[1] != 1 or images.shape[3] != MEL_BINS:
            raise ValueError(f"VGGish needs images (batch, 1, frames, {MEL_BINS} mel bins), not {tuple(images.shape)}")
        patches = cut_into_patches(images[:, 0])  # (b, patches, 96, 64)
        hidden = patches.flatten(0, 1)[:, None]
        if self.gradient_checkpointing and self.training:
            hidden = checkpoint(self.features, hidden, use_reentrant=False)
        else:
            hidden = self.features(hidden)  # (b * patches, 512, 6, 4)
        # Frames, bins, channels: the order in which the original, with channels last, flattens them.
        hidden = self.embeddings(hidden.permute(0, 2, 3, 1).flatten(1))
        return hidden.unflatten(0, patches.shape[:2]).mean(dim=1)


def cut_into_patches(log_mel: torch.Tensor) -> torch.Tensor:
    """Cut into patches. An incomplete last patch is dropped; a clip shorter than a patch is repeated to fill it.

    (b, frames, mel bins) -> (b, patches, 96, mel bins)
    """
    frames = log_mel.shape[1]
    if frames < PATCH_FRAMES:
        log_mel = log_mel.repeat(1, -(-PATCH_FRAMES // frames), 1)
    patches = max(1, frames // PATCH_FRAMES)
    return log_mel[:, : patches * PATCH_FRAMES].unflatten(1, (patches, PATCH_FRAMES))
