"""How it runs: settings, roles, command line, observing."""
