"""
The fast path: walks driven for as long as nothing but the usual happens.
"""
