"""Tests in a real browser: what people see, click and hear read out. Each is slow."""
