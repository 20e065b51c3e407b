"""The command line `act-detr`: thin, one module a command; the work is done in `models`."""
