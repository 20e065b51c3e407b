"""Deployments, and the programs that check them; never imported by the service."""
