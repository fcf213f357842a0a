"""Studies, probes and benchmarks, each a command: `python -m heartcare.studies.beat_study --help`."""
