"""The SQL store: one set of steps, three databases.

`store` is the order of things, `transaction` one batch, `dialect` what databases spell
differently, `database` where a step runs.
"""
