"""One file for each captioner.

A backend module holds `Options`, a pydantic model (`extra="forbid"`) of its own settings,
`create(options) -> captions.captioner.Captioner`, which loads the model, and `check(options)`, which makes
sure without loading it that the model can be had, or raises `mvcap.errors.ModelUnavailableError`.
"""
