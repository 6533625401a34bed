"""Datasets through Clusters: in which order, by whom, pinned to what."""
