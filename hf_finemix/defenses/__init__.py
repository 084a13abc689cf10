"""Defences, one file each, behind one interface."""
