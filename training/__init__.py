"""Omniview-Tuning: makes a vision-language model robust to the viewpoint."""
