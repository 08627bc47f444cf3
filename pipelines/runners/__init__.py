"""Where stages run: in this process tree, or on Ray."""
