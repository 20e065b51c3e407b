"""Answers of `/detect` in the formats of other tools: COCO results, CSV, Label Studio.

All take an answer as its JSON is read, so that a program that only talks to a service needs neither torch nor the
service's own classes.
"""
