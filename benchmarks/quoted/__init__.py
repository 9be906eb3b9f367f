"""Figures that pages quote: measured, stored, and written into the pages from the stored files."""
