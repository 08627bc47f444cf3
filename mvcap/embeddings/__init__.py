"""Embeddings of objects and of categories: what `mvcap.selection` compares.

`arrays` reads files of object embeddings, `openshape` fetches the published ones, `vectors` reads and keeps
category vectors, and `encoder` makes either with a CLIP. Nothing here unpickles anything.
"""
