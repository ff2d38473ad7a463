"""
Pages of lists: their sizes.
"""

from __future__ import annotations

import pytest

from meshwalk.model.problems import RequestError
from meshwalk.server.paging import DEFAULT_PAGE, MAX_PAGE, page_size
from meshwalk.wire.gen.meshwalk.v1beta1 import graph_pb2


@pytest.mark.parametrize(("wanted", "expected"), [(0, DEFAULT_PAGE), (1, 1), (MAX_PAGE, MAX_PAGE)])
def test_size(wanted: int, expected: int) -> None:
    """
    A page is as long as was asked for; 0 leaves its size to the server.
    """
    assert expected == page_size(graph_pb2.ListGraphsRequest(page_size=wanted))


@pytest.mark.parametrize("wanted", [-1, MAX_PAGE + 1])
def test_size_out_of_range(wanted: int) -> None:
    """
    A size out of range is refused, with the field and the range named.
    """
    with pytest.raises(RequestError, match=f"page_size: is {wanted}, and it lies in 0 to {MAX_PAGE}"):
        page_size(graph_pb2.ListGraphsRequest(page_size=wanted))
