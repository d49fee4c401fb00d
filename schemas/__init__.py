"""The promises between the parts: event lines, warehouse tables, control-plane tables, the public contract."""
