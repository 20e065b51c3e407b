"""The plan of a run: its recipe, schedule and image sizes, from what is known of the data, and the time it takes."""
