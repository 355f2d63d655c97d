"""Effects on waveforms and features, as pure functions, and the conditions under which models are tested."""
