"""
Recorded answers: what a real model once said to a prompt, with its tokens, cost and confidence.

The file is read when the backend opens and shared between the backends that name it.  Answers come at once, since
outcomes files hold no latencies; what is measured then is the mesh, not the models.

A prompt that the file does not have is *refused by the model*, not billable: nothing was sent, and no other try of the same
call can end otherwise, while an `on_error` edge to another backend can.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import anyio

from meshwalk.backends.base import ChatRequest
from meshwalk.backends.outcomes import Outcomes, load_outcomes
from meshwalk.model import RecordedSpec
from meshwalk.model.problems import RefusedByModel, SetupError
from meshwalk.model.resource import AsyncResource
from meshwalk.trace import Reply


class RecordedBackend(AsyncResource):
    """
    A backend that answers with the recorded replies of *model* in *outcomes*.
    """

    waits = False

    def __init__(self, name: str, model: str, outcomes: Outcomes) -> None:
        self.name = name
        self.model = model
        self.outcomes = outcomes

    async def chat(self, request: ChatRequest) -> Reply:
        """
        Look the prompt up, to the letter; a recorded outcome without text gives an empty answer.

        Raises:
            RefusedByModel: If the file has no answer of the model to it.
        """
        row = self.outcomes.find(request.prompt)
        outcome = row.outcomes.get(self.model) if row else None
        if outcome is None:
            what = "no row with this prompt" if row is None else f"no answer of '{self.model}' to this prompt"
            raise RefusedByModel(
                f"backend '{self.name}' gives recorded answers of '{self.model}', and '{self.outcomes.path}' has {what}",
                backend=self.name,
            )

        return Reply(
            outcome.text or "",
            usage=outcome.usage,
            cost_nano_usd=outcome.cost_nano_usd,
            confidence=outcome.confidence,
            model=self.model,
        )

    async def aclose(self) -> None:
        """
        Do nothing: the file is closed already.
        """


async def open_recorded(spec: RecordedSpec, *, folder: str, data: str | None) -> RecordedBackend:
    """
    Read the outcomes file that *spec* names, or *data* where it names none.

    Raises:
        SetupError: If there is no file, it cannot be read, or it has no answers of the model.
    """
    if spec.data is not None:
        path = str(Path(folder) / spec.data)
    elif data is not None:
        path = data
    else:
        raise SetupError(
            f"backend '{spec.name}' gives recorded answers and has no file to read them from; "
            f"name one in the graph as 'data:', or give one with --data or to evaluate"
        )
    outcomes = await anyio.to_thread.run_sync(load_outcomes, path)
    if spec.model not in outcomes.models:
        close = get_close_matches(spec.model, outcomes.models, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise SetupError(
            f"backend '{spec.name}': '{path}' has no answers of '{spec.model}'; {hint}it has: {', '.join(outcomes.models)}"
        )

    return RecordedBackend(spec.name, spec.model, outcomes)
