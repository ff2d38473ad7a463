"""
Does a graph decide as its author meant?  Cases are walked by the real engine, with scripted models and a pretended clock.

Cases stand beside a graph, as `<name>.cases.yaml`:

    cases:
      - name: a confident screen answers
        given:
          messages: What is the capital of France?     # or a list of {role, content, name}
          attributes: {correctness: lenient}           # what the caller sends
          limits: {cost_usd: 0.01}                     # the caller's own, as in a graph
          session: s-17                                # and `workflow`: whose budgets it draws on
          spent: {session: {cost_usd: 0.85, calls: 3}} # what was spent of them before: session, workflow, tenant
          signals: {complexity: 0.1}                   # what classifiers say; what is left out is computed
          replies:
            screen: {text: Paris., confidence: 0.9, usage: {input: 30, output: 8}}
            primary: {error: overloaded}               # or a list: one for each call in turn
        expect:
          path: [intake, screen, done]                 # `done` at the end: an answer is served
          takes: screen -> done                        # or `edge 1 of screen`, `error edge 1 of screen`, an edge's id
          outcome: answered                            # refused, failed, or rejected (no walk was begun)
          served: screen
          cost_usd_at_most: 0.001                      # and `reason`, `cause` for walks without an answer
          scope: session                               # what refused a call: request, session, workflow or tenant

A reply takes `text`, `confidence`, `finish_reason`, `usage`, `cost_usd` and `latency`, a failure takes `error` (rate_limited,
overloaded, unreachable, malformed, refused_by_model or timeout) and `latency`.  A confidence reaches the node however it
reads one; only a stated one has to stand in the text.  What is not in `expect` is not looked at.

A case is alone with its budgets: what stands under `spent` was spent by nobody it meets, and it needs no name for a session
or a workflow of which it says what was spent.  A scope that it neither names nor says this of does not cap it.

Invariants:

1. Only the models and the clock are simulated.  Admission, budgets, retries, deadlines and roles are the engine's own.
2. Shared budgets are kept in a vault of the case's own, whose time stands still, so no window ends and no lease.
3. Time passes only in calls: each takes its `latency`, cut off where the hop's or the attempt's time ends, which is a timeout
   like any other and charged at its worst.  `error: timeout` takes all the time there is.
4. A call that a case says nothing of ends the walk there, and the case fails: what would follow is nobody's intention.
5. An edge is covered if a case that passes takes it.
"""

from meshwalk.cases.results import CaseResult, Coverage, Failure, Uncovered
from meshwalk.cases.run import coverage, run_cases


__all__ = ["CaseResult", "Coverage", "Failure", "Uncovered", "coverage", "run_cases"]
