"""Values and rules shared by every part: no I/O, standard library only."""
