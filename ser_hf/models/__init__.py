"""The model families. One line each: a family is its folder and its line here.

Each folder has a `record.py` that states the facts about its families (see `family.Family`). Importing this package
imports no torch. `import ser_hf.models.auto` registers all families with the Auto classes of transformers.
"""

FAMILIES = (
    "stock",  # HuBERT, wav2vec2, WavLM, Whisper: classes of transformers
    "speech",  # speech_encoder, fusion, svm: families on such an encoder
    "spectrogram",
    "hybrid",
)
