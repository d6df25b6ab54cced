"""Software in the loop: a whole constellation as plain processes on this machine."""
