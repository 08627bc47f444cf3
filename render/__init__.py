"""Pictures of 3D objects: cameras, the contract with Blender, its supervisor, and checks of what came out."""
