"""Classes of transformers that need no code of ours: HuBERT, wav2vec2, WavLM, and Whisper classifiers."""
