"""A table of all that a user of the Hub tries first, row by row; `python -m heartcare.studies.first_try` runs it."""
