"""What traces the rays: the CPU, or a kind of GPU."""

import bpy

KINDS = ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI")
"""In order of preference: OptiX is the faster of the two for the same cards."""


def choose_device(wanted: str) -> str:
    """Switch on every device of the wanted kind and return its name, `CPU` or one of `KINDS`.

    `auto` takes the first kind of which there is a device, else the CPU. A RuntimeError says what there is
    where another kind is wanted than this machine, or this Blender, has.
    """
    wanted = wanted.upper()
    if wanted == "CPU":
        return "CPU"
    for kind in KINDS if wanted == "AUTO" else (wanted,):
        if switch_on(kind):
            return kind
    if wanted == "AUTO":
        return "CPU"
    found = ", ".join(kind.lower() for kind in KINDS if switch_on(kind)) or "no GPU"
    raise RuntimeError(f"render.device={wanted.lower()} is not here: Blender finds {found}; use auto or cpu")


def switch_on(kind: str) -> bool:
    """Select a kind and all its devices for Cycles; False where there is none."""
    preferences = bpy.context.preferences.addons["cycles"].preferences
    try:
        preferences.compute_device_type = kind
    except TypeError:  # this Blender was built without it
        return False
    preferences.refresh_devices()
    devices = [device for device in preferences.devices if device.type == kind]
    for device in preferences.devices:
        device.use = device in devices
    return bool(devices)
