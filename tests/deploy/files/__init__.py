"""The files that operators deploy with: each passes its own validator and says of Pulse what is so."""
