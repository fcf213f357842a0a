"""What a user of the Hub tries first, row by row, as one table; `python -m heartcare.studies.first_try` runs it."""
