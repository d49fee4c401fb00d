"""Real servers for tests and for `scripts/cluster`: each by pip, on a free port of loopback, ended with its block."""
