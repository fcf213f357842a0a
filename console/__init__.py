"""The command `heartcare`: one module for each subcommand that is more than a call of another room's command."""
