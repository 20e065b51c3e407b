"""What the service tells of itself: metrics, logs, the record of a request."""
