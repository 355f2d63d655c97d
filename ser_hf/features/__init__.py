"""Feature extractors: waveforms in, tensors out. Each file travels to the Hub with the siblings that it imports."""
