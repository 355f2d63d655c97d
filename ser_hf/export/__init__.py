"""Saved models as graphs that run without PyTorch: a waveform in, logits out, and the features inside."""
