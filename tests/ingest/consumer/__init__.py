"""Tests of everything between the log and the warehouse."""
