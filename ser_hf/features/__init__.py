"""Feature extractors: waveforms in, tensors out. One file each, since exactly that file travels to the Hub."""
