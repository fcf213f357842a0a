"""A table of the things that a user of the Hub tries first; `python -m heartcare.studies.first_try` runs it."""
