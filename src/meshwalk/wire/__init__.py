"""
Between house words and the wire: generated stubs (`gen`), conversion, errors, and the client.
"""
