"""gtftd, the fine-tuning daemon of Gas Town."""

__version__ = "0.1.0"
