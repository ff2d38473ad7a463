"""
The worst case of one call: input tokens, output tokens, money.

The ledger reserves these figures before a call, and `check` bounds a whole walk with them, so both ask here.  Tokenizers make
no more tokens than the text that they read has UTF-8 bytes.  Some normalise Unicode before they read, which may lengthen rare
characters, so a text counts with the bytes of its longest form (`prompts.text_bytes`).  A chat template adds text of its own.
So each backend declares what bounds it, and has safe figures where it does not (`InputBound`); where it declares its
tokenizer, what that counts of a request stands for its bytes.

The largest request a graph admits is one message of all its bytes:
`limits.input_bytes` counts a further message as heavy as the tokens a chat template may add to it (`counted_bytes`), so
that many empty messages need no more than one full one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshwalk import prompts
from meshwalk.model import DEFAULT_INPUT_BYTES, MTOK, Attribute, Graph, InputBound, Node, Price, Sampling, Value, signals
from meshwalk.trace import Facts, Message, ReplyOptions


# The tokens a chat template may add round a message (role markers, separators); the widest we know adds about ten.
OVERHEAD_TOKENS_PER_MESSAGE = 16

# The tokens a template may write round the tools once, in words of its own, and round each of them or each call of one.
OVERHEAD_TOKENS_OF_TOOLS = 512
OVERHEAD_TOKENS_PER_TOOL = 96

# The tokens a template may add at each comma and bracket of JSON, which it writes with blanks or line by line.
_TOKENS_PER_JSON_MARK = 2

# A number as a prompt writes it: whole ones in full, and the largest double has 309 digits and a sign.
_NUMBER_LENGTH = 310


def counted_bytes(input_bytes: int, messages: int) -> int:
    """
    Count a request against `limits.input_bytes`: its bytes, and what each message after the first adds to a prompt.
    """
    return input_bytes + (messages - 1) * OVERHEAD_TOKENS_PER_MESSAGE


def message_bytes(message: Message) -> int:
    """
    Return the UTF-8 bytes that *message* counts as.

    Raises:
        UnicodeEncodeError: If it holds what is no text.
    """
    content, name = message.content, message.name
    size = len(content) if content.isascii() else prompts.text_bytes(content)
    if name:
        size += prompts.text_bytes(name)

    return size + tool_bytes(message) if message.tool_calls or message.tool_call_id or message.carried else size


def tool_bytes(message: Message) -> int:
    """
    Return the part of those bytes that tools cause, and what a provider needs back.
    """
    calls = sum(sum(map(json_bytes, call)) + OVERHEAD_TOKENS_PER_TOOL for call in message.tool_calls)

    return calls + prompts.text_bytes(message.tool_call_id) + prompts.text_bytes(message.carried)


def json_bytes(text: str) -> int:
    """
    Return the UTF-8 bytes that a text counts as that may be JSON: with what a template puts between its values.
    """
    marks = text.count(",") + text.count("[") + text.count("{")

    return prompts.text_bytes(text) + marks * _TOKENS_PER_JSON_MARK


def form_bytes(form: ReplyOptions) -> int:
    """
    Return the UTF-8 bytes that *form* counts as.

    Raises:
        UnicodeEncodeError: If it holds what is no text.
    """
    size = 0
    if form.tools:
        size = OVERHEAD_TOKENS_OF_TOOLS + prompts.text_bytes(form.tool_choice)
        size += sum(sum(map(json_bytes, tool)) + OVERHEAD_TOKENS_PER_TOOL for tool in form.tools)
    if form.response_format is not None:
        wanted = form.response_format
        size += OVERHEAD_TOKENS_PER_TOOL + prompts.text_bytes(wanted.name) + json_bytes(wanted.schema)

    return size


def input_tokens(node: Node, facts: Facts, allowance: InputBound = InputBound()) -> int:
    """
    Bound the tokens that a call of *node* sends, whatever window its backend has.
    """
    own, ahead = node.prompt is not None, 0 if node.system is None else 1
    messages, images = (1, 0) if own else (facts.messages, facts.images)
    for name, tokens in facts.counted:
        if name == node.name:
            # Its tokenizer has counted the text, and not what a template writes round it.
            return tokens + allowance.tokens(0, messages + ahead, images)
    input_bytes = facts.input_bytes
    if node.prompt is not None:
        input_bytes = prompts.bound_bytes(node.prompt, input_bytes, facts.messages, dict(facts.attributes), node.quotes)
    if node.system is not None:
        input_bytes += prompts.text_bytes(node.system)

    return allowance.tokens(input_bytes, messages + ahead, images)


def max_tokens(node: Node, requested: int | None) -> int | None:
    """
    Return the most tokens that a reply may have; a caller's limit may only tighten the node's.
    """
    stated = node.sampling.max_tokens
    if stated is None or requested is None:
        return requested if stated is None else stated

    return min(stated, requested)


def need(
    node: Node, price: Price | None, context_tokens: int | None, facts: Facts, allowance: InputBound = InputBound()
) -> tuple[int | None, int, int | None]:
    """
    Bound a call: cost in nano-dollars, input tokens, output tokens; None where nothing declared bounds it.

    A window holds input and output together, so neither is ever larger than it, whatever a caller asks for.  Of several samples
    each has the window to itself: the input is sent once, and every one of them is paid for as output.
    """
    inputs = input_tokens(node, facts, allowance)
    outputs = max_tokens(node, facts.sampling.max_tokens)
    if context_tokens is not None:
        inputs = min(inputs, context_tokens)
        outputs = context_tokens if outputs is None else min(outputs, context_tokens)
    if outputs is not None and node.confidence is not None:
        outputs *= node.confidence.samples
    cost = None if price is None or outputs is None else price.bound(inputs, outputs)

    return cost, inputs, outputs


Bound = Callable[[Facts], tuple[int | None, int, int | None]]


class Bounder:
    """
    The bound of calls of *node*, as `need` gives it.

    Attributes:
        usual: Does so, with all that no request changes worked out once, for a request that asks for no sampling of its own and
            whose tokens nobody has counted; None if that is no quicker.
    """

    __slots__ = ("_allowance", "_context_tokens", "_node", "_price", "usual")

    def __init__(
        self, node: Node, price: Price | None, context_tokens: int | None, allowance: InputBound = InputBound()
    ) -> None:
        self._allowance = allowance
        self._node = node
        self._price = price
        self._context_tokens = context_tokens
        self.usual = _usual(node, price, context_tokens, allowance)

    def __call__(self, facts: Facts) -> tuple[int | None, int, int | None]:
        """
        Bound a call: cost in nano-dollars, input tokens, output tokens; None where nothing declared bounds it.
        """
        if self.usual is None or facts.counted or facts.images or facts.sampling.max_tokens is not None:
            return need(self._node, self._price, self._context_tokens, facts, self._allowance)

        return self.usual(facts)


def _usual(node: Node, price: Price | None, window: int | None, allowance: InputBound) -> Bound | None:
    _, _, outputs = need(node, price, window, _ANY)
    # A prompt of its own is as long as the texts it quotes, and a system message is added to either.
    if node.prompt is not None or node.system is not None or price is None or outputs is None:
        return None
    if price.above or allowance.thousandths_per_byte != 1000:
        return None
    input_price, output_price = price.max_rates
    # The cost is a sum then, rounded up.
    output_cost = outputs * output_price + MTOK - 1
    max_inputs = _NO_WINDOW if window is None else window
    _, per_request, per_message, _ = allowance

    def bound(facts: Facts) -> tuple[int | None, int, int | None]:
        inputs = facts.input_bytes + per_request + facts.messages * per_message
        if inputs > max_inputs:  # noqa: PLR1730 (`min` would be called)
            inputs = max_inputs

        return (inputs * input_price + output_cost) // MTOK, inputs, outputs

    return bound


# More tokens than any request can have: a request's bytes fit 64 bits.
_NO_WINDOW = 1 << 80
_ANY = Facts((), 0, 0)


def window(node: Node, facts: Facts, allowance: InputBound = InputBound()) -> int:
    """
    Bound the context that a call of *node* may fill; a reply that nothing bounds has room for one token at least.

    Each of several samples fills a window of its own.
    """
    outputs = max_tokens(node, facts.sampling.max_tokens)

    return input_tokens(node, facts, allowance) + (1 if outputs is None else outputs)


def largest_facts(graph: Graph) -> Facts:
    """
    Return the request that needs most of all that *graph* admits, from a caller who leaves `max_tokens` to the graph.

    Attributes whose text nothing bounds are left out; `unbounded_words` names them.
    """
    limit = DEFAULT_INPUT_BYTES if graph.limits.input_bytes is None else graph.limits.input_bytes
    longest = ((name, _longest(attribute)) for name, attribute in signals.attributes(graph).items())

    return Facts(tuple((name, value) for name, value in longest if value is not None), limit, 1)


def min_facts(graph: Graph, node: Node) -> Facts:
    """
    Return the request that needs least of *node*, from a caller who leaves a `max_tokens` that the node states as it is.
    """
    asks = node.sampling.max_tokens is None and "max_tokens" in graph.allowed_sampling
    # The tokenizer's count of a prompt is not known here; no text has less than no token.
    counted = ((node.name, 0),) if _is_counted(graph, node.backend or "") else ()

    return Facts((), 1, 1, Sampling(max_tokens=1) if asks else Sampling(), counted=counted)


def _is_counted(graph: Graph, backend: str) -> bool:
    # A stored plan names no files, and keeps their hashes.
    return graph.backends[backend].tokenizer is not None or f"backends.{backend}.tokenizer" in graph.hashes


def unbounded_words(graph: Graph, node: Node) -> tuple[str, ...]:
    """
    Name what the prompt of *node* quotes although nothing bounds its length.
    """
    mentioned: Iterable[str] = (name for name, _ in prompts.placeholders(node.prompt or ""))
    free = {f"request.{name}" for name, attribute in signals.attributes(graph).items() if _longest(attribute) is None}

    return tuple(name for name in dict.fromkeys(mentioned) if name in free)


def _longest(attribute: Attribute) -> Value | None:
    match attribute.type:
        case "bool":
            return False
        case "number":
            return "0" * _NUMBER_LENGTH

    return max(attribute.enum, key=prompts.text_bytes) if attribute.enum else None
