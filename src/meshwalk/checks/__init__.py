"""
What `check` looks for in a graph that reads: its shape, what is assigned where, its bounds, and what can never happen.
"""
