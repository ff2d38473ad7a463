"""
The main job, shown: `python -m meshwalk.demo [GRAPH]`.
"""
