"""Models that can be tuned, one file each; `mvcap.plugins` finds them by name.

A backend holds `Options`, a frozen pydantic model, and `create(options, *, weights=True) ->
training.dual_encoder.DualEncoder`. With `weights=False` the network has the same shapes and any values, and
nothing large is fetched: enough to count parameters and to time a step. `create` raises
`ModelUnavailableError`, which says what would help.
"""
