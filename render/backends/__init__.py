"""One file for each renderer.

A backend module holds `Options`, a pydantic model (`extra="forbid"`) of its own settings, and
`create(options, *, interpreter) -> render.job.Renderer`; the interpreter is the
program that runs Blender, or None for the default, and a backend without Blender ignores it.
"""
