"""What training minimizes: matching, losses, distillation."""
