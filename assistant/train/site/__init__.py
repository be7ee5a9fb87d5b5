"""Training on a hospital's own studies: tokenizer, encoder and heads from a manifest (docs/TRAINING.md)."""
