"""One module or package per protocol: filters, decoding, reads, health, plans. Pure: no I/O, no clock."""
