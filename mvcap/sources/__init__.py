"""One file for each corpus of objects.

A source module holds `Options`, a pydantic model (`extra="forbid"`) of its own settings, and
`list_objects(options) -> Iterator[SelectedObject | Rejected]`, in any order.

A source of pictures, which are imported instead of rendered, also holds

* `open_pictures(options) -> mvcap.pictures.FindPictures`, called once by each worker: listing stays cheap,
  and what takes work to find out about an object is found out here;
* `expected_views(options) -> Callable[[SelectedObject], int]`, a cheap guess for the progress bar;
* `CAMERAS`, a few words on the frame of its cameras, where it has any. They are recorded with the dataset:
  change them when the frame changes, and only then.

Its `Options` have the `path` that every object's `asset` lies in. A field that does not decide what is
stored of a picture is `Annotated[..., OPERATIONAL]`; the others are part of the dataset's settings.

A source whose models come over a network lists them all the same: `asset` is the path that a model will
have. It then also holds `open_fetcher(options)`, which returns a `pipelines.fetching.Fetcher`; models are
fetched where they are rendered, some ahead of the renderer.
"""
