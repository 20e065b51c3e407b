"""Labelled images in files: COCO's format, the layouts of folders, and the images themselves."""
