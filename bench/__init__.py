"""Throughput side by side with the original server, in one run, as ratios.

Every measurement starts its server fresh, alternates between the peers and is repeated;
medians are reported. Absolute figures of one machine mean little: compare the ratios.
Run `python -m bench --help`, or `make bench` and `make bench-compare`.
"""
