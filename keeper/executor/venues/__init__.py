"""Where what is seized is sold: a module is a kind of `[[venues]]`."""
