"""
Any OpenAI-compatible chat endpoint, over one HTTP call a request.

A thin client: what a walk needs is the text, why it ended, the tokens, the token probabilities, the tools that the model
wishes to call and where the time went.  Invariants:

1. A key is read from the environment when the backend opens and appears nowhere else: not in an error, even where a
   provider echoes it or that of another endpoint, and not on another host, since redirects are not followed.
2. Nor does an address: it may come from the environment, and errors are recorded.
3. Whatever an endpoint does ends as a reply or a `BackendError`.  `billable` is said of everything that happened after
   the request was on its way and that the provider may have worked for; an HTTP error status is an answer without work.
   An address that no call can be made to is refused when the backend opens, and not once a walk.
4. A call that is cancelled closes its connection at once, so that a server which notices stops working; how far it had
   come stands in its `CallProgress`.
5. A stream is read as strictly as a whole answer, and the pieces told of are the text of the reply.  One that breaks off
   before it said that it is at its end is no reply.

`client` makes the calls, `body` writes what is sent in the `shape` that a server takes.  `reading` takes an answer in, `events`
takes a stream apart, and `assembly` puts the reply together, a `choice` for each sample, whole and streamed by the same rules;
`spellings` names every field that is read.  `faults` has the words for what is wrong, `statuses` the meaning of errors, `waits`
the pauses that providers ask for, `progress` the clock, `opening` the environment.
aiohttp rather than a provider's SDK: about a tenth of the CPU time a call, and its trace hooks give the latency split.
"""

from __future__ import annotations

from meshwalk.backends.openai.client import CONNECTIONS, OpenAIBackend, Place
from meshwalk.backends.openai.opening import DEFAULT_BASE_URL, open_openai
from meshwalk.backends.openai.response import RESPONSE_BYTES


__all__ = ["CONNECTIONS", "DEFAULT_BASE_URL", "RESPONSE_BYTES", "OpenAIBackend", "Place", "open_openai"]
