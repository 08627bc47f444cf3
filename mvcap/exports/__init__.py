"""One file for each foreign layout that a dataset can be written in.

A module holds `Options`, a pydantic model (`extra="forbid"`) of its own settings, and
`export(store, plan, folder, options) -> int`, which fills a new, empty folder from the committed shards and
returns how many views it wrote. It refuses what the layout cannot hold with a `UsageError`, before it writes.
A module `mvcap_json` is the format `mvcap-json` of the command line.
"""
