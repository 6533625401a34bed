"""Turns to replay: folders with a manifest, made, checked, exchanged."""
