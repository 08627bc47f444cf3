"""One file for each foreign layout that a dataset can be written in.

A module holds `Options`, a pydantic model (`extra="forbid"`) of its own settings, and
`export(chosen, folder, options) -> int`, which fills a new, empty folder from the `ChosenViews` and returns
how many views it wrote. It refuses what the layout cannot hold with a `UsageError`, before it writes. Whoever
calls it adds `objects.parquet`, since licences go where pictures go. A module `mvcap_json` is the format
`mvcap-json` of the command line.
"""
