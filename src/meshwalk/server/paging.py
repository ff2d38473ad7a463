"""
Pages of lists, for every service that has one.
"""

from __future__ import annotations

from typing import Protocol

from meshwalk.model.problems import RequestError, Violation


DEFAULT_PAGE = 50
MAX_PAGE = 1_000


class PagedRequest(Protocol):
    """
    A request for a page.
    """

    @property
    def page_size(self) -> int:
        """
        Return the most items that the page may have; 0 leaves it to the server.
        """


def page_size(request: PagedRequest) -> int:
    """
    Return the number of items on the page that *request* asks for.

    Raises:
        RequestError: If it is out of range.
    """
    if not 0 <= request.page_size <= MAX_PAGE:
        raise RequestError([Violation("page_size", f"is {request.page_size}, and it lies in 0 to {MAX_PAGE}")])

    return request.page_size or DEFAULT_PAGE


def unknown_page() -> RequestError:
    """
    Return the error of a token that no page of this server has.
    """
    return RequestError([Violation("page_token", "names no page of this server; start again without one")])
