"""The commands of `act-detr` that evaluate and train: thin, one module each; the work is done in `models`."""
