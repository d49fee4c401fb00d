"""What is broken on purpose: processes that are killed, disks that are full."""
