"""Tensors -> tensors: the CoCa model, its weights on disk and its tokenizers."""
