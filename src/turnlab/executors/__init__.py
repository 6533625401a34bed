"""Where Tasks run: in this process (`embedded`)."""
