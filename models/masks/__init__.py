"""Masks of detected objects, and their forms in COCO's files: runs (RLE) and polygons."""
