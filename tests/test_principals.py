"""Who comes in: lists of hashed tokens, JWTs of a real issuer's keys, and the commands that edit them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm
from typer.testing import CliRunner

from azquack.cli.principal import principal
from azquack.errors import SettingError, TokenError
from azquack.principals import FileSource, Grant, Principals, PublicToken, Role, TextSource, principal_list
from azquack.principals.jwt import JwtSource, Keys

ISSUER, AUDIENCE = "https://login.example/tenant", "api://azquack"
ROLES = {"Lake.Read": Role.READER, "Lake.Write": Role.WRITER, "Lake.Admin": Role.ADMIN}
HS_KEY = "0123456789abcdef0123456789abcdef"


def added(path: Path, name: str, role: Role = Role.READER) -> str:
    return principal_list.edit(path, lambda known: principal_list.add(known, name, role))


def test_a_token_lets_its_principal_in_and_no_other_does(tmp_path: Path) -> None:
    path = tmp_path / "principals.json"
    ann, bob = added(path, "ann"), added(path, "bob", Role.WRITER)
    source = FileSource(path)
    found = source.authenticate(ann)
    assert found is not None
    assert (found.name, found.role, found.grants) == ("ann", Role.READER, None)
    assert source.current("ann", found.fingerprint) == found
    assert source.current("bob", found.fingerprint) is None
    for wrong in ("", "azq_", ann[:-1], ann + "x", ann.upper(), bob[::-1], "\ud800"):
        assert source.authenticate(wrong) is None


def test_the_file_holds_no_token_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "principals.json"
    token = added(path, "ann")
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(token) >= 43
    path.chmod(0o644)
    with pytest.raises(TokenError, match="chmod 600"):
        FileSource(path)


def test_revoking_ends_sessions_at_once(tmp_path: Path) -> None:
    path = tmp_path / "principals.json"
    token = added(path, "ann")
    source = FileSource(path)
    found = source.authenticate(token)
    assert found is not None
    principal_list.edit(path, lambda known: (principal_list.revoke(known, "ann"), None))
    assert source.current("ann", found.fingerprint) is None
    assert source.authenticate(token) is None


def test_rotating_ends_the_sessions_of_the_old_token_only(tmp_path: Path) -> None:
    path = tmp_path / "principals.json"
    old = added(path, "ann")
    source = FileSource(path)
    before = source.authenticate(old)
    new = principal_list.edit(path, lambda known: principal_list.rotate(known, "ann"))
    after = source.authenticate(new)
    assert before is not None
    assert after is not None
    assert source.authenticate(old) is None
    assert source.current("ann", before.fingerprint) is None
    assert source.current("ann", after.fingerprint) == after


def test_a_grant_reaches_a_session_that_is_open(tmp_path: Path) -> None:
    path = tmp_path / "principals.json"
    source_token = added(path, "ann")
    source = FileSource(path)
    found = source.authenticate(source_token)
    assert found is not None
    assert found.may("select", "demo", "t")
    given = Grant.parse("select on demo.*")
    principal_list.edit(path, lambda known: (principal_list.grant(known, "ann", given), None))
    narrowed = source.current("ann", found.fingerprint)
    assert narrowed is not None
    assert narrowed.may("select", "Demo", "T")
    assert not narrowed.may("select", "main", "t")
    principal_list.edit(path, lambda known: (principal_list.ungrant(known, "ann", given), None))
    nothing = source.current("ann", found.fingerprint)
    assert nothing is not None
    assert not nothing.may("select", "demo", "t")


def test_a_file_that_breaks_keeps_the_old_principals_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "principals.json"
    token = added(path, "ann")
    source = FileSource(path)
    path.write_text(f'{{"principals": [{{"name": "ann", "token": "{token}"')
    with caplog.at_level(logging.WARNING):
        assert source.authenticate(token) is not None
    assert "stay in force" in caplog.text
    assert token not in caplog.text
    path.unlink()
    assert source.authenticate(token) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"principals": [1]}',
        '{"principals": [{"name": "a", "role": "reader"}]}',
        '{"principals": [{"name": "a", "role": "reader", "token_sha256": "abc"}]}',
        '{"principals": [{"name": "a", "role": "root", "token_sha256": "%s"}]}' % ("0" * 64),
        '{"principals": [{"name": "a b", "role": "reader", "token_sha256": "%s"}]}' % ("0" * 64),
        '{"principals": [{"name": "a", "role": "reader", "token_sha256": "%s", "x": 1}]}' % ("0" * 64),
        '{"principals": [{"name": "a", "role": "reader", "token_sha256": "%s", "grants": ["all"]}]}'
        % ("0" * 64),
    ],
)
def test_a_book_that_cannot_be_read_says_so_in_a_sentence(text: str) -> None:
    with pytest.raises(TokenError, match="the principals cannot be read"):
        TextSource(lambda: text)


def test_a_list_read_back_is_the_same() -> None:
    known, _ = principal_list.add(
        principal_list.PrincipalList(), "ann", Role.WRITER, (Grant.parse("select,insert on Demo.Events"),)
    )
    known, _ = principal_list.add(known, "bob", Role.ADMIN)
    assert principal_list.PrincipalList.parse(known.text()) == known


ODD = [
    "",
    " ",
    "a b",
    "o'neil",
    'a"b',
    "a/b",
    "a\n",
    "é",
    "a" * 129,
    "\x00",
    "\ud800",
    "*",
    "ann",
    "a.b_c@d-e",
    "A" * 128,
]
PLACES = [
    "*",
    "s.*",
    "s.t",
    '"a b".*',
    "a b.c",
    "s.t.u",
    "é.ß",
    "'x'.y",
    "a;b.*",
    "S.T",
    "2024.01",
    ".t",
    "s.",
]


@pytest.mark.parametrize("people", [(), ("ann",)])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ODD)
def test_what_is_taken_into_a_book_can_be_read_from_it(
    tmp_path: Path, name: str, place: str, people: tuple[str, ...]
) -> None:
    file = tmp_path / "principals.json"
    for each in people:
        principal_list.edit(file, partial(principal_list.add, name=each, role=Role.READER))
    before = principal_list.read(file)
    said = ""
    try:
        given = Grant.parse(f"select on {place}")
        principal_list.edit(file, lambda known: principal_list.add(known, name, Role.WRITER, (given,)))
    except (SettingError, TokenError) as error:
        said = str(error)
    assert "\n" not in said
    if said:
        assert principal_list.read(file) == before
    else:
        assert principal_list.read(file).find(name).grants == (given,)


def test_a_text_source_reads_anew_only_when_told() -> None:
    known, token = principal_list.add(principal_list.PrincipalList(), "ann", Role.READER)
    texts = [known.text()]
    source = TextSource(lambda: texts[-1])
    found = source.authenticate(token)
    assert found is not None
    texts.append(principal_list.revoke(known, "ann").text())
    assert source.current("ann", found.fingerprint) == found
    source.refresh()
    assert source.current("ann", found.fingerprint) is None


@pytest.mark.parametrize(
    "text", ["select", "select on", "on demo.t", "steal on t", "select on *.t", "all on a.b.c.d/e"]
)
def test_a_grant_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SettingError):
        Grant.parse(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("select on demo.*", "select on demo.*"),
        ("SELECT, insert ON Demo.Events", "insert,select on demo.events"),
        ("write on t", "create,delete,insert,update on main.t"),
        ("all on *", "create,delete,insert,select,update on *"),
    ],
)
def test_a_grant_reads_like_a_sentence(text: str, shown: str) -> None:
    assert str(Grant.parse(text)) == shown
    assert Grant.parse(shown) == Grant.parse(text)


def test_the_public_token_is_a_principal_like_others() -> None:
    source = PublicToken("a-token-of-many-characters", Role.READER)
    found = source.authenticate("a-token-of-many-characters")
    assert found is not None
    assert found.role is Role.READER
    assert source.current(found.name, found.fingerprint) == found
    assert source.authenticate("another-token-of-many-characters") is None
    with pytest.raises(SettingError, match="too short"):
        PublicToken("secret")


class Issuer:
    """A JWKS over HTTP, as an issuer serves it, and the keys that sign."""

    def __init__(self) -> None:
        self.keys: dict[str, RSAPrivateKey] = {}
        self.fetches = 0
        self.broken = False
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.fetches += 1
                self.send_response(500 if issuer.broken else 200)
                self.end_headers()
                self.wfile.write(issuer.jwks())

            def log_message(self, format: str, *args: object) -> None:
                """Quiet: what matters is counted."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def jwks(self) -> bytes:
        keys = [
            {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", "alg": "RS256"}
            for kid, key in self.keys.items()
        ]
        return json.dumps({"keys": keys}).encode()

    def new_key(self, kid: str) -> None:
        self.keys[kid] = generate_private_key(65537, 2048)

    def sign(self, kid: str, **claims: Any) -> str:
        return jwt.encode(wanted(**claims), self.keys[kid], "RS256", headers={"kid": kid})

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def wanted(**claims: Any) -> dict[str, Any]:
    """The claims of a good token; a claim given as None is left out."""
    soon = datetime.now(UTC) + timedelta(minutes=5)
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": soon, "roles": ["Lake.Read"]}
    return {key: value for key, value in (good | claims).items() if value is not None}


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Issuer()
    made.new_key("one")
    yield made
    made.close()


def rs256(issuer: Issuer, **more: Any) -> JwtSource:
    return JwtSource(issuer=ISSUER, audience=AUDIENCE, roles=ROLES, jwks_url=issuer.url, **more)


def hs256(**more: Any) -> JwtSource:
    return JwtSource(**{"issuer": ISSUER, "audience": AUDIENCE, "roles": ROLES, "key": HS_KEY} | more)


def test_a_token_of_the_issuer_lets_in_until_it_expires(issuer: Issuer) -> None:
    now = [datetime.now(UTC).timestamp()]
    source = rs256(issuer, clock=lambda: now[0])
    found = source.authenticate(issuer.sign("one", roles=["Other", "Lake.Write", "Lake.Read"]))
    assert found is not None
    assert (found.name, found.role) == ("ann", Role.WRITER)
    assert found.expires is not None
    assert source.current("ann", found.fingerprint) == found
    now[0] = found.expires
    assert source.current("ann", found.fingerprint) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://login.example/other"},
        {"iss": None},
        {"aud": "api://other"},
        {"aud": None},
        {"exp": datetime(2001, 1, 1, tzinfo=UTC)},
        {"exp": None},
        {"nbf": datetime(2101, 1, 1, tzinfo=UTC)},
        {"sub": None},
        {"sub": ""},
        {"sub": "a name with blanks"},
        {"roles": None},
        {"roles": []},
        {"roles": ["Other"]},
        {"roles": "lake.read"},
        {"roles": {"Lake.Admin": True}},
        {"roles": [["Lake.Admin"]]},
    ],
    ids="-".join,
)
def test_a_token_with_a_wrong_claim_is_refused(issuer: Issuer, claims: dict[str, Any]) -> None:
    assert rs256(issuer).authenticate(issuer.sign("one", **claims)) is None
    assert hs256().authenticate(jwt.encode(wanted(**claims), HS_KEY, "HS256")) is None


@pytest.mark.parametrize(
    ("claims", "word"),
    [
        ({"iss": "https://login.example/other"}, "another issuer"),
        ({"iss": None}, "no claim iss"),
        ({"aud": "api://other"}, "another audience"),
        ({"aud": None}, "no claim aud"),
        ({"exp": datetime(2001, 1, 1, tzinfo=UTC)}, "has expired"),
        ({"exp": None}, "no claim exp"),
        ({"nbf": datetime(2101, 1, 1, tzinfo=UTC)}, "not valid yet"),
        ({"sub": None}, "names nobody"),
        ({"roles": ["Other"]}, "no role here"),
    ],
)  # fmt: skip
def test_its_bearer_is_told_why_a_token_of_the_issuer_does_not_let_in(
    issuer: Issuer, claims: dict[str, Any], word: str
) -> None:
    assert word in Principals([PublicToken("p" * 16), rs256(issuer)]).reason(issuer.sign("one", **claims))
    token = jwt.encode(wanted(**claims), HS_KEY, "HS256")
    assert word in hs256().reason(token)
    # Whoever made a token of their own is told nothing of what would do.
    for forged in (
        jwt.encode(wanted(**claims), HS_KEY[::-1] + "x", "HS256"),
        token[:-3] + "AAA",
        "a.b.c",
        "",
        "x",
    ):
        assert hs256().reason(forged) == ""
        assert rs256(issuer).reason(forged) == ""


def test_the_role_may_lie_deeper_and_the_name_in_another_claim(issuer: Issuer) -> None:
    source = rs256(issuer, role_claim="realm_access.roles", name_claim="email")
    token = issuer.sign("one", realm_access={"roles": ["Lake.Admin"]}, email="ann@example.com")
    found = source.authenticate(token)
    assert found is not None
    assert (found.name, found.role) == ("ann@example.com", Role.ADMIN)
    assert source.authenticate(issuer.sign("one")) is None


def encoded(part: Any) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")


def forged(header: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token put together by hand: the library refuses to make such ones."""
    soon = int((datetime.now(UTC) + timedelta(minutes=5)).timestamp())
    text = encoded(header) + b"." + encoded(wanted(exp=soon, roles=["Lake.Admin"]))
    return (text + b"." + base64.urlsafe_b64encode(sign(text)).rstrip(b"=")).decode()


def test_the_token_does_not_choose_its_algorithm(issuer: Issuer) -> None:
    source = rs256(issuer)
    public = issuer.keys["one"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    attempts = [
        forged({"alg": "none", "typ": "JWT"}, lambda _: b""),
        forged({"alg": "none", "kid": "one"}, lambda _: b""),
        forged({"alg": "None", "kid": "one"}, lambda _: b""),
        # The public key as the secret of an HMAC, in the forms in which people keep it.
        *(
            forged({"alg": "HS256", "kid": "one"}, partial(hmac.digest, key, digest="sha256"))
            for key in (pem, pem.strip(), issuer.jwks())
        ),
        forged({"alg": "HS256", "kid": "one"}, lambda text: hashlib.sha256(text).digest()),
        forged({"alg": "RS256", "kid": "one"}, lambda _: b""),
    ]
    for token in attempts:
        assert source.authenticate(token) is None
    assert hs256().authenticate(issuer.sign("one")) is None
    assert hs256().authenticate(jwt.encode(wanted(), HS_KEY * 2, "HS512")) is None


def test_a_key_in_the_header_of_the_token_is_not_used(issuer: Issuer) -> None:
    mine = generate_private_key(65537, 2048)
    jwk = RSAAlgorithm.to_jwk(mine.public_key(), as_dict=True)
    headers = {"kid": "one", "jwk": jwk, "jku": "http://127.0.0.1:1/keys"}
    assert rs256(issuer).authenticate(jwt.encode(wanted(), mine, "RS256", headers=headers)) is None


def test_keys_are_fetched_once_and_anew_when_the_issuer_rotates_them(issuer: Issuer) -> None:
    source = rs256(issuer)
    source._key = Keys(issuer.url, pause=0)
    for _ in range(5):
        assert source.authenticate(issuer.sign("one")) is not None
    assert issuer.fetches == 1
    issuer.new_key("two")
    assert source.authenticate(issuer.sign("two")) is not None
    assert issuer.fetches == 2


def test_logins_at_once_share_the_first_fetch_of_the_keys(issuer: Issuer) -> None:
    source = rs256(issuer)
    token = issuer.sign("one")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(source.authenticate, [token] * 8))
    assert all(found)
    assert issuer.fetches == 1


def test_made_up_key_ids_do_not_make_us_fetch_at_will(issuer: Issuer) -> None:
    source = rs256(issuer)
    assert source.authenticate(issuer.sign("one")) is not None
    mine = generate_private_key(65537, 2048)
    for number in range(20):
        token = jwt.encode(wanted(), mine, "RS256", headers={"kid": f"made-up-{number}"})
        assert source.authenticate(token) is None
    assert issuer.fetches == 1


def test_known_keys_stay_in_force_while_the_issuer_cannot_be_reached(issuer: Issuer) -> None:
    source = rs256(issuer)
    source._key = Keys(issuer.url, lifespan=0, pause=0)
    assert source.authenticate(issuer.sign("one")) is not None
    issuer.broken = True
    assert source.authenticate(issuer.sign("one")) is not None
    assert issuer.fetches >= 2


def test_an_issuer_that_was_never_reached_lets_nobody_in(issuer: Issuer) -> None:
    issuer.broken = True
    source = rs256(issuer)
    for _ in range(3):
        assert source.authenticate(issuer.sign("one")) is None
    assert issuer.fetches == 1


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "a.b.c.d", "é.ü.ö", "\ud800.a.b", "x" * 20_000 + ".a.b"]
)
def test_what_is_no_jwt_is_refused_without_an_error(issuer: Issuer, token: str) -> None:
    assert rs256(issuer).authenticate(token) is None
    assert hs256().authenticate(token) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": None},
        {"jwks_url": "http://127.0.0.1:1"},
        {"key": "short"},
        {"issuer": ""},
        {"audience": ""},
        {"roles": {}},
    ],
    ids=str,
)
def test_jwt_settings_that_could_never_work_are_refused_at_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        hs256(**wrong)


def test_several_sources_are_one(tmp_path: Path) -> None:
    path = tmp_path / "principals.json"
    ann = added(path, "ann")
    sources = Principals([PublicToken("a-token-of-many-characters"), FileSource(path), hs256()])
    for token, name in (
        (ann, "ann"),
        ("a-token-of-many-characters", "public"),
        (jwt.encode(wanted(sub="eve"), HS_KEY, "HS256"), "eve"),
    ):
        found = sources.authenticate(token)
        assert found is not None
        assert found.name == name
        assert sources.current(name, found.fingerprint) == found
    assert sources.authenticate("nobody") is None
    path.write_text("broken")
    sources.refresh()
    assert sources.authenticate(ann) is not None


def run(path: Path, *arguments: str) -> str:
    result = CliRunner().invoke(principal, [*arguments, "--file", str(path)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_commands_add_list_grant_rotate_and_revoke(tmp_path: Path) -> None:
    path = tmp_path / "principals.json"
    token = run(path, "add", "ann", "--role", "writer").strip()
    assert FileSource(path).authenticate(token) is not None
    run(path, "grant", "ann", "select on demo.*")
    run(path, "grant", "ann", "write on demo.t")
    run(path, "ungrant", "ann", "select on demo.*")
    assert run(path, "list") == "ann\twriter\tcreate,delete,insert,update on demo.t\n"
    fresh = run(path, "rotate", "ann").strip()
    assert fresh != token
    assert FileSource(path).authenticate(token) is None
    run(path, "revoke", "ann")
    assert run(path, "list") == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", "ann"], "there is a principal 'ann' already"),
        (["add", "a b"], "cannot name a principal"),
        (["add", "bob", "--role", "admin", "--grant", "all on *"], "an administrator has no grants"),
        (["grant", "ann", "write on t"], "ann is a reader"),
        (["ungrant", "ann", "select on t"], "ann has no grant"),
        (["grant", "ann", "nonsense"], "is no grant"),
        (["revoke", "bob"], "there is no principal 'bob'"),
        (["rotate", "bob"], "there is no principal 'bob'"),
    ],
)
def test_a_command_that_cannot_work_says_why(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    path = tmp_path / "principals.json"
    added(path, "ann")
    before = path.read_text()
    with pytest.raises(SettingError, match=sentence):
        run(path, *arguments)
    assert path.read_text() == before


def test_two_edits_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "principals.json"
    threads = [threading.Thread(target=added, args=(path, f"p{number}")) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(principal_list.read(path).records) == 20
