"""How parameters change: update rules, groups of parameters, and the optimizer that applies rules to parameters.

``rules`` has the formulas, ``optimizer`` keeps their state for a net or for two flat arrays, and ``landscapes`` shows
the path of a rule on a function of two variables. This room may know nets and schedules, and nothing of runs.
"""
