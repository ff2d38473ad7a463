"""
What a walk leaves behind: hops as people read them, the trace store, spans, redacted content.
"""
