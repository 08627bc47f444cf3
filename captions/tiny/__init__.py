"""Small InstructBLIP checkpoints for machines without a GPU or a network."""
