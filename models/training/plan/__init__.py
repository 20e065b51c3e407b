"""What a run does and how long it takes: its recipe, schedule and sizes, from what is known of the data."""
