"""
Every method of a server, with every kind of credential.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from meshwalk.mesh import Mesh
from meshwalk.model.problems import Span
from meshwalk.model.serving import RIGHTS, Access, Right, TenantRules, TokenIssuer
from meshwalk.records.store import TraceReader, TraceWriter
from meshwalk.server import OperatorKey, serve
from meshwalk.server.guard import RIGHTS_OF, Guard
from meshwalk.server.identity import IdentityBook
from meshwalk.wire.errors import PermissionDenied
from meshwalk.wire.gen.meshwalk.v1beta1 import budget_pb2, common_pb2, graph_pb2, routing_pb2, trace_pb2
from tests.support.backends import saying
from tests.support.identities import MadeKey, key_of
from tests.support.plans import plan_of


FILES = (routing_pb2, trace_pb2, graph_pb2, budget_pb2, health_pb2, reflection_pb2)
METHODS: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
# Older releases of grpcio-health-checking know no list of services.
ABSENT = {"/grpc.health.v1.Health/List"} - METHODS.keys()
OPEN = [name for name, rights in RIGHTS_OF.items() if rights is None and name not in ABSENT]
CLOSED = [name for name, rights in RIGHTS_OF.items() if rights is not None]

GRAPHS = ("shared", "acmes")
PLANS = {
    name: plan_of(
        f"""
        meshwalk: 1
        name: {name}
        start: only
        record: {{content: true}}
        budgets:
          session: {{cost_usd: 5, window: 1h}}
          tenant: {{cost_usd: 50, window: 1h}}
        backends:
          one: {{kind: simulated, usd_per_mtok: {{input: 1, output: 1}}}}
        nodes:
          only: {{role: primary, backend: one, max_tokens: 16, next: done}}
        """
    )
    for name in GRAPHS
}

SPAN = Span("server.yaml", 1, 1)
OPERATOR = "operators-only"
ISSUER, SIGNING = "https://login.example", ECKey.generate_key("P-256", {"kid": "one"})
# A second that has passed.
LONG_AGO = 1

Outcome = tuple[grpc.StatusCode, list[Any]]


class Served(NamedTuple):
    """
    A server with its keys, and the id of a walk of acme.
    """

    channel: grpc.aio.Channel
    keys: dict[str, MadeKey]
    walked: str

    async def call(self, method: str, credential: str, **fields: Any) -> Outcome:
        """
        Call *method* with the key called *credential*, and return how it ended with what came.
        """
        return await self.send(method, self.keys[credential].metadata if credential else (), **fields)

    async def send(self, method: str, metadata: tuple[tuple[str, str], ...], **fields: Any) -> Outcome:
        descriptor = METHODS[method]
        request = GetMessageClass(descriptor.input_type)(**{**self.request(method), **fields})
        reply = GetMessageClass(descriptor.output_type)
        kinds = {(False, False): "unary_unary", (False, True): "unary_stream", (True, True): "stream_stream"}
        kind = kinds[descriptor.client_streaming, descriptor.server_streaming]
        open_call = getattr(self.channel, kind)
        call = open_call(method, request_serializer=lambda one: one.SerializeToString(), response_deserializer=reply.FromString)
        try:
            if kind == "unary_unary":
                return grpc.StatusCode.OK, [await call(request, metadata=metadata, timeout=20)]
            replies = []
            sent = iter([request]) if kind == "stream_stream" else request
            stream = call(sent, metadata=metadata, timeout=20)
            async for one in stream:
                replies.append(one)
                if method.endswith("/Watch"):
                    stream.cancel()
                    break
        except grpc.aio.AioRpcError as error:
            return error.code(), []

        return grpc.StatusCode.OK, replies

    def request(self, method: str) -> dict[str, Any]:
        route = {"messages": [{"role": "user", "content": "canary"}], "graph": "shared", "scopes": {"session": "s"}}
        match method.rpartition("/")[2]:
            case "Route":
                return route
            case "RouteStream" | "Decide":
                return {"request": route}
            case "RouteMany":
                return {"items": [{"seq": 1, "request": route}]}
            case "GetTraversal":
                return {"traversal_id": self.walked}
            case "DescribeGraph":
                return {"graph": "shared"}
            case "SetBudget":
                return {"scope": common_pb2.SCOPE_KIND_SESSION, "name": "s", "caps": {"calls": 100}}
            case "ServerReflectionInfo":
                return {"list_services": ""}
            case _:
                return {}


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("guarded")
    keys: dict[str, MadeKey] = {right: key_of("acme", right) for right in RIGHTS}
    keys |= {"all": key_of("acme"), "others": key_of("beta"), "unknown": key_of("acme")}
    keys |= {"expired": key_of("acme", expires_unix=LONG_AGO)}
    everything: frozenset[Right] = frozenset(RIGHTS)
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps(KeySet([SIGNING]).as_dict(private=False)), encoding="utf-8")
    access = Access(
        keys=tuple(key.entry for name, key in keys.items() if name != "unknown"),
        issuers=(TokenIssuer(issuer=ISSUER, audience="meshwalk", jwks=str(jwks)),),
        tenants={"acme": TenantRules(rights=everything), "beta": TenantRules(rights=everything, graphs={"shared": SPAN})},
    )
    async with AsyncExitStack() as stack:
        writer = TraceWriter(folder)
        stack.push_async_callback(writer.aclose)
        reader = stack.enter_context(TraceReader(folder))
        meshes = [
            await stack.enter_async_context(Mesh(plan, backends={"one": saying("canary answer")}, sinks=[writer]))
            for plan in PLANS.values()
        ]
        server = await stack.enter_async_context(
            serve(meshes, traces=reader, access=access, operator_key=OperatorKey(OPERATOR))
        )
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"))
        code, (reply,) = await Served(channel, keys, "").call("/meshwalk.v1beta1.RoutingService/Route", "all")
        assert grpc.StatusCode.OK is code
        meshes[0].flush_records()
        await writer.flush()
        yield Served(channel, keys, reply.traversal_id)


class TestTable:
    def test_every_method_has_its_row(self) -> None:
        """
        A new method without a row is refused to everybody, and fails here.
        """
        assert METHODS.keys() == RIGHTS_OF.keys() - ABSENT

    def test_a_method_without_a_row_is_refused(self) -> None:
        """
        What the table does not know, nobody may call.
        """
        key = key_of("acme")
        access = Access(keys=(key.entry,), tenants={"acme": TenantRules(rights=frozenset(RIGHTS))})
        guard = Guard(IdentityBook(access, OperatorKey(), "default"))

        with pytest.raises(PermissionDenied):
            guard.admit("/meshwalk.v1beta1.NewService/New", key.metadata)

    @pytest.mark.parametrize("method", OPEN)
    async def test_open_methods(self, served: Served, method: str) -> None:
        """
        Health is for everybody, whatever comes with the call.
        """
        for credential in ("", "expired", "unknown", "others", "all"):
            assert grpc.StatusCode.OK is (await served.call(method, credential))[0]

    @pytest.mark.parametrize("method", CLOSED)
    @pytest.mark.parametrize(
        "metadata",
        [
            pytest.param((), id="none"),
            pytest.param((("authorization", ""),), id="empty"),
            pytest.param((("authorization", "Bearer "),), id="bearer-of-nothing"),
            pytest.param((("authorization", "Basic dXNlcjpwYXNz"),), id="other-scheme"),
            pytest.param((("authorization", "Bearer mwk_123"),), id="malformed"),
            pytest.param((("authorization", "Bearer a.b.c"),), id="no-token"),
            pytest.param((("x-api-key", "secret"),), id="no-key"),
        ],
    )
    async def test_no_credential_and_none_that_is_one(
        self, served: Served, method: str, metadata: tuple[tuple[str, str], ...]
    ) -> None:
        """
        Without a credential, and with what is none, a call is unauthenticated.
        """
        assert (grpc.StatusCode.UNAUTHENTICATED, []) == await served.send(method, metadata)

    @pytest.mark.parametrize("method", CLOSED)
    @pytest.mark.parametrize("credential", ["unknown", "expired"])
    async def test_credentials_that_are_not_taken(self, served: Served, method: str, credential: str) -> None:
        """
        A key that the server does not know, or no longer takes, is no credential.
        """
        assert (grpc.StatusCode.UNAUTHENTICATED, []) == await served.call(method, credential)

    @pytest.mark.parametrize("method", CLOSED)
    async def test_a_copy_with_a_slip(self, served: Served, method: str) -> None:
        """
        A key that differs in one character is refused.
        """
        text = served.keys["all"].text
        wrong = text[:20] + ("A" if text[20] != "A" else "B") + text[21:]

        assert (grpc.StatusCode.UNAUTHENTICATED, []) == await served.send(method, (("x-api-key", wrong),))

    @pytest.mark.parametrize("right", RIGHTS)
    @pytest.mark.parametrize("method", CLOSED)
    async def test_rights(self, served: Served, method: str, right: Right) -> None:
        """
        One right of those that a method takes is enough, and any other is not.
        """
        needed = RIGHTS_OF[method]
        assert needed is not None
        code = (await served.call(method, right))[0]

        assert (grpc.StatusCode.OK if right in needed or not needed else grpc.StatusCode.PERMISSION_DENIED) is code

    @pytest.mark.parametrize("method", CLOSED)
    async def test_tokens(self, served: Served, method: str) -> None:
        """
        A token of the issuer comes in with its tenant's rights; one that has expired, or is of others, does not.
        """
        stranger = ECKey.generate_key("P-256", {"kid": "one"})
        now = int(time.time())

        def token(key: ECKey, tenant: str, exp: int) -> tuple[tuple[str, str], ...]:
            claims: dict[str, Any] = {"iss": ISSUER, "aud": "meshwalk", "exp": exp, "tenant": tenant}
            return (("authorization", f"Bearer {jwt.encode({'alg': 'ES256', 'kid': 'one'}, claims, key)}"),)

        assert grpc.StatusCode.OK is (await served.send(method, token(SIGNING, "acme", now + 600)))[0]
        for refused in (
            token(SIGNING, "acme", now - 600),
            token(stranger, "acme", now + 600),
            token(SIGNING, "nobody", now + 600),
        ):
            assert (grpc.StatusCode.UNAUTHENTICATED, []) == await served.send(method, refused)

    @pytest.mark.parametrize("method", CLOSED)
    async def test_either_header(self, served: Served, method: str) -> None:
        """
        A key is taken from either header, and not from both.
        """
        text = served.keys["all"].text

        assert grpc.StatusCode.OK is (await served.send(method, (("x-api-key", text),)))[0]
        both = (("x-api-key", text), ("authorization", f"bearer {text}"))
        assert grpc.StatusCode.UNAUTHENTICATED is (await served.send(method, both))[0]


class TestTenants:
    async def test_a_walk_of_another_tenant_is_not_there(self, served: Served) -> None:
        """
        A tenant reads its own records; another's are not found, by id or by prefix, nor listed, nor paged from.
        """
        get, listing = "/meshwalk.v1beta1.TraceService/GetTraversal", "/meshwalk.v1beta1.TraceService/ListTraversals"

        assert grpc.StatusCode.OK is (await served.call(get, "all"))[0]
        assert grpc.StatusCode.NOT_FOUND is (await served.call(get, "others"))[0]
        assert grpc.StatusCode.NOT_FOUND is (await served.call(get, "others", traversal_id=served.walked[:12]))[0]
        assert served.walked in {row.traversal_id for row in (await served.call(listing, "all"))[1][0].traversals}
        assert served.walked not in {row.traversal_id for row in (await served.call(listing, "others"))[1][0].traversals}
        assert grpc.StatusCode.INVALID_ARGUMENT is (await served.call(listing, "others", page_token=served.walked))[0]

    async def test_content_is_a_right_of_its_own(self, served: Served) -> None:
        """
        Who may read records but no content finds no prompt and no answer in them.
        """
        get = "/meshwalk.v1beta1.TraceService/GetTraversal"
        (whole,), (blank,) = [(await served.call(get, credential))[1] for credential in ("all", "read")]

        assert "canary answer" == whole.traversal.content.answer
        assert not blank.traversal.HasField("content")
        assert b"canary" not in blank.SerializeToString()

    async def test_graphs_of_others_are_not_there(self, served: Served) -> None:
        """
        A graph that a tenant may not walk is neither walked, nor listed, nor described, nor named in an error.
        """
        names = [
            [graph.plan.graph for graph in (await served.call("/meshwalk.v1beta1.GraphService/ListGraphs", who))[1][0].graphs]
            for who in ("all", "others")
        ]
        assert [["shared", "acmes"], ["shared"]] == names
        for method in ("RoutingService/Route", "GraphService/DescribeGraph"):
            assert [grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND] == [
                (await served.call(f"/meshwalk.v1beta1.{method}", who, graph="acmes"))[0] for who in ("all", "others")
            ]
        call: Any = served.channel.unary_unary("/meshwalk.v1beta1.RoutingService/Route")
        request = routing_pb2.RouteRequest(graph="acmez")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(request.SerializeToString(), metadata=served.keys["others"].metadata)
        assert "acmes" not in str(refused.value.details())

    async def test_a_plan_is_for_readers(self, served: Served) -> None:
        """
        Who may only route learns what requests take, and nothing of nodes, backends and prices.
        """
        described = [
            (await served.call("/meshwalk.v1beta1.GraphService/DescribeGraph", right))[1][0] for right in ("route", "read")
        ]

        assert [True, True] == [bool(one.attributes) for one in described]
        assert [False, True] == [bool(one.canonical and one.nodes and one.backends and one.mermaid) for one in described]

    async def test_budgets_are_the_tenants_own(self, served: Served) -> None:
        """
        A tenant sees and caps its own accounts, and no other's.
        """
        listing, setting = "/meshwalk.v1beta1.BudgetService/ListAccounts", "/meshwalk.v1beta1.BudgetService/SetBudget"
        seen = [(await served.call(listing, who))[1][0] for who in ("all", "others")]

        assert ["acme", "beta"] == [page.tenant for page in seen]
        assert any(account.name == "s" for account in seen[0].accounts)
        tenant = {"scope": common_pb2.SCOPE_KIND_TENANT, "name": "acme"}
        assert [grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT] == [
            (await served.call(setting, who, **tenant))[0] for who in ("operate", "others")
        ]

    async def test_the_operators_key_reads_and_sets(self, served: Served) -> None:
        """
        The operator's key still works beside the others, for the server's own tenant, and routes nothing.
        """
        metadata = (("authorization", f"Bearer {OPERATOR}"),)
        methods = ("BudgetService/SetBudget", "BudgetService/ListAccounts", "RoutingService/Route")

        assert [grpc.StatusCode.OK, grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED] == [
            (await served.send(f"/meshwalk.v1beta1.{method}", metadata))[0] for method in methods
        ]


class TestRefusals:
    async def test_an_unknown_callers_body_is_not_read(self, served: Served) -> None:
        """
        A stranger is told so whatever the request holds, even what nobody can decode.
        """
        call: Any = served.channel.unary_unary("/meshwalk.v1beta1.RoutingService/Route")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"\xff\xff\xff")

        assert grpc.StatusCode.UNAUTHENTICATED is refused.value.code()

    async def test_a_fault_of_the_guard_lets_nobody_in(
        self, served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """
        Whatever goes wrong while a caller is looked for, the call is refused, and the log says why.
        """

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(IdentityBook, "identify", broken)
        code = (await served.call("/meshwalk.v1beta1.RoutingService/Route", "all"))[0]

        assert grpc.StatusCode.INTERNAL is code
        assert "Route failed unexpectedly with ZeroDivisionError" in caplog.text

    def test_the_log_counts_and_holds_no_credential(self, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
        """
        Many refusals are one line with their number, and no line holds a key.
        """
        del tmp_path
        now = [0.0]
        key, unknown = key_of("acme", "read"), key_of("acme")
        access = Access(keys=(key.entry,), tenants={"acme": TenantRules()})
        guard = Guard(IdentityBook(access, OperatorKey(), "default"), clock=lambda: now[0])
        with caplog.at_level(logging.WARNING):
            for seconds in (0, 1, 2, 11):
                now[0] = seconds
                for metadata in (unknown.metadata, key.metadata):
                    with pytest.raises(Exception, match=r"API key|takes the right route"):
                        guard.admit("/meshwalk.v1beta1.RoutingService/Route", metadata)

        assert (4, 4) == guard.counts
        assert ["callers are refused (1 ", "callers are refused (6 "] == [record.message[:23] for record in caplog.records]
        assert not any(text in caplog.text for text in (key.text[12:40], unknown.text[12:40]))
