"""Films, cut into turns."""
