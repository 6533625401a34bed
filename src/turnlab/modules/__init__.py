"""The AI end: Modules, one file each, and the registry that finds them."""
