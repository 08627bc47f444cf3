"""VIFormer beside an exported model: weights, settings, and the code that puts it behind the encoder."""

import json
import shutil
from pathlib import Path
from typing import Final

from safetensors.torch import save_file

from training import viformer
from training.student import Student

CODE, SETTINGS, WEIGHTS = "viformer.py", viformer.SETTINGS_FILE, viformer.WEIGHTS_FILE
HOW: Final = """\
The encoder's own features are `model.encode_image(pixels)`. What was tuned has VIFormer behind them:

    from viformer import WithVIFormer
    model = WithVIFormer(model, "FOLDER")
    model.encode_image(pixels, normalize=True)
"""


def write_viformer(student: Student, folder: Path) -> bool:
    """Write VIFormer into an exported folder; return whether there is one.

    `viformer.py` needs torch and safetensors alone, so that the folder can be used without mvcap.
    """
    if (former := student.viformer) is None:
        return False
    state = {name: value.contiguous().clone() for name, value in former.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    (folder / SETTINGS).write_text(json.dumps(former.settings(), indent=1))
    shutil.copyfile(str(viformer.__file__), folder / CODE)
    (folder / "VIFORMER.txt").write_text(HOW)
    return True
