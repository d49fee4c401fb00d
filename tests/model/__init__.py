"""The reference model: METRICS.md as plain, slow Python over lists. Nothing here imports the product.

Read in the order the data flows: `records` (what is sent, what is stored), `facts` (hand-written tables of what
enrichment must find), `arrive` (from sent to stored), `local` (local days and buckets), `ranges` (what a question's
dates mean), `filters`, `sessions`, `figures` (every endpoint's rows), `ledger`; `strategies` makes the streams.

Where METRICS.md leaves a choice, the choice stands beside the code as a comment that begins with "Decision:".
"""
