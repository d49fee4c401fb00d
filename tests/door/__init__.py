"""A small HTTP door over the embedded engine that speaks enough of ClickHouse's HTTP interface."""
