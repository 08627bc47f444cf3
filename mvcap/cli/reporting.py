"""The command that writes what a person looks at: `report`."""

from pathlib import Path
from typing import Annotated

import typer

from mvcap.cli.app import app
from mvcap.cli.configuring import configure
from mvcap.cli.options import Dataset, path_of, say


@app.command()
def report(
    dataset: Dataset,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", parser=path_of, help="Write it there (DIR/report/index.html)."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", min=1, help="How many views are listed (2000)."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another one draws other views.")] = 0,
) -> None:
    """Write a page to look at: captions to search, objects to turn, figures, the worst, what failed.

    It is one file that loads nothing from the network. Figures count every view; a sample over all
    categories is listed, since each listed view takes about 2 kB: 2000 of them 3 to 20 MB. Beyond 4000, views
    are listed without a picture. A finished build has written the page already.

    Example: `mvcap report my_dataset --sample 4000`
    """
    from mvcap.storage import Store
    from pipelines.planning import saved_settings
    from pipelines.reporting import SAMPLE, report_dataset

    config = configure(None, None, None, base=saved_settings(Store(dataset)), captions=False)
    written = report_dataset(config, dataset, out, sample=sample or SAMPLE, seed=seed)
    say(
        f"listed {written.listed:,} of {written.views:,} views, {written.pictured:,} with pictures, "
        f"in {written.bytes / 1e6:.1f} MB"
    )
    print(written.path)
