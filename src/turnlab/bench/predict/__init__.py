"""Predicts how fast a Cluster would be from what was measured of its Components."""
