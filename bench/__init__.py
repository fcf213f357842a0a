"""Heartcare-Bench: five tasks, three subsets, and scores that cannot flatter (paper section 5)."""
