"""What enrichment makes of lines: a table of cases per step, then all steps together."""
