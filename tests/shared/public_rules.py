"""The rules that minnet offers, for tables that name each of them."""

import minnet as mn


def public_rules():
    rules = [getattr(mn, name) for name in mn.__all__]
    return {r.__name__ for r in rules if isinstance(r, type) and issubclass(r, mn.Rule) and r is not mn.Rule}
