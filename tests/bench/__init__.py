"""Benches: ratios against a baseline of the same run, medians of several rounds, and a count that nothing was lost."""
