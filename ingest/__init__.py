"""From a page to a row: collector, event log, enriching consumer, writer."""
