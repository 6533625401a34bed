"""What providers charge: read from one dated TOML file."""
