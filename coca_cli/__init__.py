"""coca: pretrain CoCa (Contrastive Captioners) models and evaluate any CoCa checkpoint."""

__version__ = "0.1.0"
