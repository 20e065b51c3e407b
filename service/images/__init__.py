"""Image files: decoding within bounds, and drawing detections."""
