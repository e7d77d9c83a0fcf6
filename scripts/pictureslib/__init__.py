"""The pictures of the documentation, a module each."""
