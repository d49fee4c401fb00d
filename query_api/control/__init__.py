"""The control plane: who owns what. One file per resource; every function is one transaction."""
