"""Where a turn begins and ends: voice activity."""
