"""
Records of finished walks: hops, the trace store, telemetry, and redaction of content.
"""
