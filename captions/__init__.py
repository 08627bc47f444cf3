"""Captions that name the right category: prompts, captioners and the stage that runs them."""
