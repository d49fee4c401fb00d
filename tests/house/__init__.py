"""The rules of the house: imports, sizes, environment, lock files, the README."""
