"""A long run of the shipped daemon, looked at from outside."""
