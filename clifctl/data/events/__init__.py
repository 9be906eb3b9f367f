"""Recordings of event cameras: how they are read, and become frames that are kept."""
