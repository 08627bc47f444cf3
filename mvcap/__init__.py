"""Build captioned multi-view datasets from 3D objects, and tune vision-language models with them."""

__version__ = "0.1.0"
