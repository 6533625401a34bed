"""From figures to the plain values that pages are drawn from."""
