"""Families on a speech encoder (HuBERT, wav2vec2, WavLM, Whisper): speech_encoder, fusion, svm and lda.

They share one folder because they share `ssl_encoder.py`. transformers copies a class's file and the siblings that it
imports with a single dot beside the weights, and nothing from a folder above. A sibling is therefore the only file that
several families can share without a copy in each folder, in checkpoints, on the Hub and in a wheel alike.
"""
