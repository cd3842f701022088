"""Shipway takes a trained model to production and keeps it honest."""
