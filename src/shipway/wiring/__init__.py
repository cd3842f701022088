"""Composition roots: the only places that name backends, clock and chance."""
