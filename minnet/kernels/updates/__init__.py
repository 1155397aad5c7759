"""The update rules, and what combinators, clipping and averages do, as loops over flat vectors."""
