"""Convolutions beside a Transformer or a BLSTM (`parallel`), or below an LSTM (`stacked`), as emotion classifiers."""
