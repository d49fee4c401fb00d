"""Enrichment: what the consumer adds to events, column by column."""
