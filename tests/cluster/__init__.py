"""The scaled form on one machine without containers: real servers and the product's roles, each a process."""
