"""Ours and the original side by side, in one run, as ratios; and what should cost nothing.

Every measurement starts its servers fresh, takes turns between the peers and is repeated;
medians are reported. Absolute figures of one machine mean little: compare the ratios.
Run `python -m bench --help`, or `make bench` and `make bench-compare`.
"""
