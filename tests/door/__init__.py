"""ClickHouse's HTTP interface over chDB, as a process of its own: what tests and fault runs take for a server."""
