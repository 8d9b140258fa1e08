"""The identity cache: between DuckDB and an endpoint that is slow, busy or silent."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import httpx
import jwt
import pytest

from azquack.config.settings import Settings
from azquack.node.managed_identity import IdentityCache
from azquack.storage import storage_for
from tests.lakes import plain_duckdb
from tests.standins.azure import Azure
from tests.standins.identity import IdentityEndpoint

QUERY = {"api-version": "2019-08-01", "resource": "https://storage.azure.com"}


class Clock:
    """Time that passes when it is told to; it starts now, since tokens carry real dates."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that says now."""
    return Clock(time.time())


@pytest.fixture
def endpoint(clock: Clock) -> Iterator[IdentityEndpoint]:
    """The platform's, on the same `clock`."""
    server = IdentityEndpoint(life=3600.0, clock=clock)
    yield server
    server.stop()


@pytest.fixture
def cache(endpoint: IdentityEndpoint, clock: Clock) -> Iterator[IdentityCache]:
    """A cache before `endpoint`, on `clock`."""
    where = endpoint.environment
    made = IdentityCache(where["IDENTITY_ENDPOINT"], where["IDENTITY_HEADER"], timeout=2.0, clock=clock)
    yield made
    made.close()


def token(cache: IdentityCache, **more: str) -> str:
    """The token that an SDK would get."""
    where = cache.environment
    response = httpx.get(
        where["IDENTITY_ENDPOINT"],
        params=QUERY | more,
        headers={"X-IDENTITY-HEADER": where["IDENTITY_HEADER"]},
        trust_env=False,
    )
    response.raise_for_status()
    assert response.json()["token_type"] == "Bearer"
    return str(response.json()["access_token"])


def test_a_token_is_asked_for_once_and_renewed_at_half_its_life(
    endpoint: IdentityEndpoint, cache: IdentityCache, clock: Clock
) -> None:
    first = token(cache)
    assert token(cache) == first
    clock.now += 1799
    assert token(cache) == first
    assert len(endpoint.requests) == 1
    clock.now += 2
    assert token(cache) != first
    assert len(endpoint.requests) == 2


def test_hours_of_renewals(endpoint: IdentityEndpoint, cache: IdentityCache, clock: Clock) -> None:
    start = clock.now
    while clock.now < start + 24 * 3600:
        status, body = cache.answer(QUERY)
        # Its dates are of the clock that the test moves, not of the one that the library would judge by.
        given = jwt.decode(json.loads(body)["access_token"], options={"verify_signature": False})
        assert status == 200
        assert given["exp"] > clock.now + 1700, "a token is never handed out in the second half of its life"
        clock.now += 60
    assert 47 <= len(endpoint.requests) <= 49


def test_resources_and_identities_are_kept_apart(endpoint: IdentityEndpoint, cache: IdentityCache) -> None:
    tokens = {token(cache), token(cache, resource="https://vault.azure.net"), token(cache, client_id="me")}
    assert len(tokens) == 3
    asked = [(request.query["resource"], request.query.get("client_id")) for request in endpoint.requests]
    assert asked == [
        ("https://storage.azure.com", None),
        ("https://vault.azure.net", None),
        ("https://storage.azure.com", "me"),
    ]


def test_many_at_once_cause_one_request(endpoint: IdentityEndpoint, cache: IdentityCache) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: token(cache), range(32)))) == 1
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_old_token_serves_on_while_the_endpoint_is_busy(
    endpoint: IdentityEndpoint, cache: IdentityCache, clock: Clock, status: int
) -> None:
    first = token(cache)
    clock.now += 1801
    with endpoint.failing(status):
        assert token(cache) == first
        assert token(cache) == first
        assert len(endpoint.requests) == 2, "a busy endpoint is left alone for a while"
    clock.now += 31
    assert token(cache) != first


def test_the_old_token_serves_on_while_the_endpoint_is_gone(
    endpoint: IdentityEndpoint, cache: IdentityCache, clock: Clock
) -> None:
    first = token(cache)
    clock.now += 1801
    endpoint.stop()
    assert token(cache) == first


def test_a_first_token_waits_for_an_endpoint_that_is_busy_for_a_moment(
    endpoint: IdentityEndpoint, cache: IdentityCache
) -> None:
    with endpoint.failing(429, times=2):
        assert token(cache)
    assert len(endpoint.requests) == 3


def test_what_will_not_pass_is_passed_on(
    endpoint: IdentityEndpoint, cache: IdentityCache, clock: Clock
) -> None:
    with endpoint.failing(429), pytest.raises(httpx.HTTPStatusError, match="429"):
        token(cache)
    endpoint.client_id = "somebody else"
    asked = len(endpoint.requests)
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        token(cache)
    assert len(endpoint.requests) == asked + 1, "a refusal is final"
    endpoint.client_id = None
    assert token(cache)
    clock.now += 3600
    with endpoint.failing(503), pytest.raises(httpx.HTTPStatusError, match="503"):
        token(cache)


def test_without_the_header_nothing_is_given(endpoint: IdentityEndpoint, cache: IdentityCache) -> None:
    for headers in ({}, {"X-IDENTITY-HEADER": "guess"}, {"X-IDENTITY-HEADER": endpoint.header}):
        response = httpx.get(
            cache.environment["IDENTITY_ENDPOINT"], params=QUERY, headers=headers, trust_env=False
        )
        assert response.status_code == 401
    assert endpoint.requests == []


def test_where_the_platform_has_no_identity_there_is_no_cache() -> None:
    assert IdentityCache.for_platform({}) is None
    assert IdentityCache.for_platform({"IDENTITY_ENDPOINT": "http://127.0.0.1:1"}) is None


def test_duckdb_writes_on_through_an_identity_outage(
    tmp_path: Path, in_azure: Azure, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_azure.blob.make_container("outage")
    names = ("storage_auth", "azure_account", "azure_client_id", "azure_endpoint")
    given = {"data_path": "az://outage/", **{name: in_azure.settings[name] for name in names}}
    storage = storage_for(Settings.model_validate(given))
    with plain_duckdb(tmp_path, *storage.extensions) as connection:
        for each in storage.statements():
            connection.execute(each.text)

        def write(number: int) -> None:
            connection.execute(f"COPY (SELECT {number} AS i) TO 'az://outage/{number}.parquet'")

        # What the cache is for: when this no longer fails, DuckDB has learnt to keep a token.
        write(0)
        with in_azure.identity.failing(429), pytest.raises(duckdb.Error, match="429"):
            write(1)

        cache = IdentityCache.for_platform(in_azure.identity.environment)
        assert cache is not None
        try:
            for name, value in cache.environment.items():
                monkeypatch.setenv(name, value)
            write(2)
            asked = len(in_azure.identity.requests)
            with in_azure.identity.failing(429):
                for number in range(3, 13):
                    write(number)
            assert len(in_azure.identity.requests) == asked
            assert connection.execute("SELECT count(*) FROM 'az://outage/*.parquet'").fetchone() == (12,)
        finally:
            cache.close()
