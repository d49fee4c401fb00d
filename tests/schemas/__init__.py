"""Tests of the promises between the folders."""
