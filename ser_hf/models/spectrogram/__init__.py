"""Image backbones (timm's, or VGGish) on log-mel spectrograms, as emotion classifiers."""
