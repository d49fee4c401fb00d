"""Schema of the control plane: tables, migrations and how to open it."""
