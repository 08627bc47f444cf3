"""One file for each corpus of objects.

A source module holds `Options`, a pydantic model (`extra="forbid"`) of its own settings, and
`list_objects(options) -> Iterator[SelectedObject | Rejected]`, in any order.
"""
