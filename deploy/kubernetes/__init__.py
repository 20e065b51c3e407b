"""Kubernetes manifests as Kustomize components."""
