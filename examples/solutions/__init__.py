"""Solutions of the course's exercises. Each is a program of fewer than 40 lines."""
