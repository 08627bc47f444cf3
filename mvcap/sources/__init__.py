"""One file for each corpus of objects.

A source module holds `Options`, a pydantic model (`extra="forbid"`) of its own settings, and
`list_objects(options) -> Iterator[SelectedObject | Rejected]`, in any order.

A source whose models come over a network lists them all the same: `asset` is the path that a model will
have. It then also holds `open_fetcher(options)`, which returns a `pipelines.fetching.Fetcher`; models are
fetched where they are rendered, some ahead of the renderer.
"""
