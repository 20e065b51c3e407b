"""Training, from a request to a model.

`programme` carries out a request: it makes a plan (`plan`), has `train` set up each run, and writes the report. `run`
owns the loop over the steps of a run; `trainer` makes one step, of batches from `data` and losses from `objective`.
"""
