"""Scripts for users, each also a command: `python examples/serve.py` or `python -m heartcare.examples.serve`."""
