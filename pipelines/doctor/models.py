"""The models that the configured captioner wants."""

from collections.abc import Iterator

from pydantic import ValidationError

from mvcap.config import Config
from mvcap.errors import MissingExtraError, MvcapError
from pipelines.doctor.findings import Finding


def check_models(config: Config, *, named: bool) -> Iterator[Finding]:
    """Make sure that the captioner and its models can be had, without loading them.

    Args:
        named: whether the user named a captioner; the default one's model is a note otherwise.
    """
    from pipelines.captioning import check_captioner, with_captioner_options

    captions = config.captions
    name = "captioner"
    try:
        config = with_captioner_options(config)
        check_captioner(config)
    except MissingExtraError as error:
        yield Finding(name, False, str(error), str(error).rpartition(": ")[2])
    except ValidationError as error:
        problem = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        yield Finding(name, False, f"{captions.backend}: {problem}", "give it by --set captions.options...")
    except MvcapError as error:
        first, *others = str(error).splitlines()
        remedy = (
            "\n".join(line.strip() for line in others) or "name another with --set captions.options.model"
        )
        yield Finding(name, False, first, remedy, needed=named)
    else:
        model = getattr(config.captions.options, "model", None)
        yield Finding(name, True, f"{captions.backend}: {model}" if model else captions.backend)
