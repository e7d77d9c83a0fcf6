"""What tests stand on: fakes, drivers and builders that state only what matters."""
