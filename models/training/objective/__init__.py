"""The objective of training: matching, losses, distillation, box refinement."""
