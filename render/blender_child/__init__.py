"""What runs inside Blender: the only code that imports bpy, and none of ours beside it.

Blender's own Python does not have this project, so these files import bpy, the standard library, numpy and
each other. `main` holds the conversation, `studio` sets the scene and takes the pictures, `importing` brings
an asset in and cleans it, `lighting` and `painting` light it.
"""
