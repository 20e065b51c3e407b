"""The REST service: HTTP and scheduling around `models.Detector`, no tensor maths."""
