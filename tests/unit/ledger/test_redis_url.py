"""The URL of a Redis: what is taken, what is refused, and that no password is shown."""

from __future__ import annotations

import pytest

from tollspan.ledger import RedisAuthority
from tollspan.usage import ConfigError


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1",
        "redis://user:p%40ss@host.example:6380/3",
        "redis://[::1]:6379/0?name=staging",
        "rediss://:secret@host.example?ssl_ca_certs=/ca.pem&ssl_cert_reqs=required",
        "unix:///run/redis/redis.sock?db=1&password=secret",
        "unix://user@/run/redis/redis.sock",
    ],
)
def test_what_is_a_redis_is_taken(url: str) -> None:
    RedisAuthority(url).close()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        pytest.param("http://:s3cret@host", "redis://, rediss:// or unix://", id="another scheme"),
        pytest.param("redis://:s3cret@", "needs a host", id="no host"),
        pytest.param("redis://:s3cret@host:port", "can't be read", id="a port that is no number"),
        pytest.param("redis://:s3cret@[host", "can't be read", id="half an address"),
        pytest.param("redis://:s3cret@host/one", "number, not 'one'", id="a database with a name"),
        pytest.param("redis://:s3cret@host/-1", "number, not '-1'", id="a negative database"),
        pytest.param("redis://:s3cret@host?db=x", "number, not 'x'", id="the same as a key"),
        pytest.param("unix://?password=s3cret", "the path of a socket", id="no socket"),
        pytest.param("redis://:s3cret@host?name={a}", "letters, digits", id="a name with braces"),
        pytest.param("redis://:s3cret@host?name=", "letters, digits", id="no name"),
        pytest.param(
            "redis://:s3cret@host?socket_timeout=60",
            "unknown key 'socket_timeout' in redis://host",
            id="a setting of the client's",
        ),
        pytest.param(
            "redis://host?password=s3cret", "unknown key 'password'", id="a password as a key"
        ),
        pytest.param(
            "redis://host?ssl_ca_certs=/ca.pem", "unknown key 'ssl_ca_certs'", id="TLS without TLS"
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_without_showing_the_password(url: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RedisAuthority(url)
    assert why in str(caught.value)
    assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__}"
