"""Families that are fitted in one step, not by gradients. What they choose, they choose on training speakers."""
