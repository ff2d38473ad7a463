"""
The client, and all that turns plain data into messages of the wire and back: stubs (`gen`), conversion and errors.
"""
