"""Where a token comes from: environment, files, generated files, and Key Vault through the real SDK."""

from __future__ import annotations

import logging
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from azquack.config.settings import Settings
from azquack.errors import SettingError, TokenError
from azquack.tokens.configured import token_source_for
from azquack.tokens.files import FileTokens, GeneratedTokens
from azquack.tokens.keyvault import KeyVaultTokens
from tests.standins.azure import CLIENT_ID, Azure

TOKEN = "s3cr3t-token-value"


def value(token: SecretStr) -> str:
    """The token itself."""
    return token.get_secret_value()


# -- environment


def test_the_environment_gives_both_tokens() -> None:
    settings = Settings.model_validate({"public_token": TOKEN, "internal_token": "internal-token-value"})
    source = token_source_for(settings)
    assert (value(source.public()), value(source.internal())) == (TOKEN, "internal-token-value")


def test_a_token_that_is_not_set_is_named() -> None:
    source = token_source_for(Settings())
    with pytest.raises(TokenError, match=r"^AZQUACK_PUBLIC_TOKEN is not set"):
        source.public()
    with pytest.raises(TokenError, match=r"^AZQUACK_INTERNAL_TOKEN is not set"):
        source.internal()
    with pytest.raises(TokenError, match="no secret principals"):
        source.read("principals")


@pytest.mark.parametrize("bad", ["short", "with a blank", "with\nline-end", "ünicode-token", ""])
def test_a_token_that_will_not_do_is_refused_without_showing_it(bad: str) -> None:
    source = token_source_for(Settings.model_validate({"public_token": bad}))
    with pytest.raises(TokenError, match="16 or more ASCII characters") as caught:
        source.public()
    assert not bad or bad not in str(caught.value)


def test_both_tokens_under_one_name_are_refused() -> None:
    with pytest.raises(SettingError, match="give them two names"):
        token_source_for(Settings(public_token_name="same", internal_token_name="same"))


# -- files


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """A file with that mode."""
    path.write_text(text)
    path.chmod(mode)


def test_files_give_tokens_and_further_secrets(tmp_path: Path) -> None:
    write(tmp_path / "public-token", f"{TOKEN}\n")
    write(tmp_path / "internal-token", "internal-token-value", 0o640)
    write(tmp_path / "principals", '{"a": 1}\n')
    source = token_source_for(Settings.model_validate({"token_source": "file", "token_dir": tmp_path}))
    assert (value(source.public()), value(source.internal())) == (TOKEN, "internal-token-value")
    assert value(source.read("principals")) == '{"a": 1}'
    write(tmp_path / "public-token", "another-token-of-tests")
    assert value(source.public()) == "another-token-of-tests", "a file is read anew"


@pytest.mark.parametrize("mode", [0o644, 0o602, 0o666])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    write(tmp_path / "public-token", TOKEN, mode)
    with pytest.raises(TokenError, match="run chmod 600"):
        FileTokens(tmp_path).public()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("gone", None, "cannot be read: No such file"),
        ("empty", b" \n", "is empty"),
        ("binary", b"\xff\xfe\x00", "is not text"),
        ("../escape", None, "no name of a token file"),
        (".hidden", None, "no name of a token file"),
        ("", None, "no name of a token file"),
    ],
)
def test_a_file_that_will_not_do_is_named(
    tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    with pytest.raises(TokenError, match=sentence):
        FileTokens(tmp_path).read(name)


# -- generated


def test_the_first_start_makes_tokens_that_stay(tmp_path: Path) -> None:
    directory = tmp_path / "lake" / "tokens"
    first = GeneratedTokens(directory)
    public, internal = value(first.public()), value(first.internal())
    assert len(public) >= 40
    assert public != internal
    for name in ("public-token", "internal-token"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert sorted(path.name for path in directory.iterdir()) == ["internal-token", "public-token"]
    again = GeneratedTokens(directory)
    assert (value(again.public()), value(again.internal())) == (public, internal)


def test_two_starts_at_once_agree(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from azquack.tokens.files import GeneratedTokens\n"
        "sources = [GeneratedTokens(Path(sys.argv[1]) / str(n)) for n in range(20)]\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print([token.get_secret_value() for s in sources for token in (s.public(), s.internal())])"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=30)[0] for process in processes}
    assert len(answers) == 1
    assert len(set(answers.pop().split(","))) == 40


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/tokens")):
        with pytest.raises(TokenError, match=r"token|no directory"):
            GeneratedTokens(directory).public()


# -- Key Vault


@pytest.fixture
def vault(in_azure: Azure) -> KeyVaultTokens:
    """The source, by managed identity, with a vault that holds three secrets."""
    in_azure.vault.secrets.clear()
    in_azure.vault.secrets.update(
        {"public-token": TOKEN, "internal-token": "internal-token-value", "principals": '{"a": 1}'}
    )
    return KeyVaultTokens(in_azure.vault.url, client_id=CLIENT_ID, timeout=4.0)


def test_key_vault_gives_tokens_and_further_secrets(in_azure: Azure, vault: KeyVaultTokens) -> None:
    assert (value(vault.public()), value(vault.internal())) == (TOKEN, "internal-token-value")
    assert value(vault.read("principals")) == '{"a": 1}'
    in_azure.vault.secrets["public-token"] = "rotated-token-of-tests"
    assert value(vault.public()) == "rotated-token-of-tests"


def test_settings_choose_key_vault(in_azure: Azure, vault: KeyVaultTokens) -> None:
    source = token_source_for(Settings.model_validate(in_azure.settings))
    assert value(source.public()) == TOKEN


def test_without_a_client_id_the_default_chain_finds_the_identity(
    in_azure: Azure, vault: KeyVaultTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_azure.identity, "client_id", None)
    assert value(KeyVaultTokens(in_azure.vault.url, timeout=4.0).public()) == TOKEN


def test_key_vault_tokens_that_expire_are_asked_for_again(
    in_azure: Azure, vault: KeyVaultTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_azure.identity, "life", 60.0)
    asked = len(in_azure.identity.requests)
    for _ in range(5):
        assert value(vault.public()) == TOKEN
    assert len(in_azure.identity.requests) >= asked + 5, "the SDK takes no token into its last five minutes"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_vault_that_is_busy_for_a_moment_is_asked_again(
    in_azure: Azure, vault: KeyVaultTokens, status: int
) -> None:
    with in_azure.vault.failing(status, times=2):
        assert value(vault.public()) == TOKEN


def test_an_identity_that_is_busy_for_a_moment_is_asked_again(in_azure: Azure, vault: KeyVaultTokens) -> None:
    with in_azure.identity.failing(429, times=2):
        assert value(vault.public()) == TOKEN


def sentence_of(source: KeyVaultTokens, name: str = "public-token") -> str:
    """The one sentence with which `source` refuses `name`."""
    with pytest.raises(TokenError) as caught:
        source.read(name)
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.__cause__ is None
    return text


def test_a_refusal_says_what_to_do(in_azure: Azure, vault: KeyVaultTokens) -> None:
    assert "has no secret gone: make it" in sentence_of(vault, "gone")
    assert "no name of a Key Vault secret" in sentence_of(vault, "under_score")
    in_azure.vault.forbidden.add("principals")
    assert "Key Vault Secrets User" in sentence_of(vault, "principals")
    in_azure.vault.secrets["empty"] = ""
    assert "is empty" in sentence_of(vault, "empty")
    with in_azure.vault.failing(503):
        assert "answered 503" in sentence_of(vault)


def test_a_vault_that_does_not_answer_is_given_up(
    in_azure: Azure, vault: KeyVaultTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "did not answer" in sentence_of(
        KeyVaultTokens("https://127.0.0.1:1", client_id=CLIENT_ID, timeout=1)
    )
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    untrusting = KeyVaultTokens(in_azure.vault.url, client_id=CLIENT_ID, timeout=1)
    assert "did not answer" in sentence_of(untrusting), "a certificate that nobody vouches for"


def test_a_silent_vault_or_identity_is_given_up(in_azure: Azure, vault: KeyVaultTokens) -> None:
    impatient = KeyVaultTokens(in_azure.vault.url, client_id=CLIENT_ID, timeout=0.5)
    with in_azure.identity.silent():
        assert "did not answer" in sentence_of(impatient)
    with in_azure.vault.silent():
        assert "did not answer" in sentence_of(impatient)
    assert value(impatient.public()) == TOKEN


def test_an_identity_that_is_refused_is_named(in_azure: Azure, vault: KeyVaultTokens) -> None:
    stranger = KeyVaultTokens(in_azure.vault.url, client_id="another", timeout=1)
    assert "AZQUACK_AZURE_CLIENT_ID" in sentence_of(stranger)


@pytest.mark.parametrize(
    "url", ["http://v.vault.azure.net", "v.vault.azure.net", "https://v/secrets/x", "https://"]
)
def test_a_malformed_vault_url_is_refused(url: str) -> None:
    settings = {"token_source": "keyvault", "key_vault_url": url}
    with pytest.raises(SettingError, match="AZQUACK_KEY_VAULT_URL"):
        token_source_for(Settings.model_validate(settings))


@pytest.mark.parametrize(
    ("source", "name"), [("file", "TOKEN_DIR"), ("generated", "TOKEN_DIR"), ("keyvault", "KEY_VAULT_URL")]
)
def test_a_source_without_its_place_is_refused(source: str, name: str) -> None:
    with pytest.raises(SettingError, match=f"AZQUACK_{name} is not set"):
        token_source_for(Settings.model_validate({"token_source": source}))


def test_no_token_reaches_a_log(
    in_azure: Azure, vault: KeyVaultTokens, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert value(vault.public()) == TOKEN
    generated = value(GeneratedTokens(tmp_path).public())
    written = caplog.text + repr(vault) + repr(vault.public())
    assert TOKEN not in written
    assert generated not in written
    assert in_azure.identity.header not in written
    assert "eyJ" not in written, "an identity's token"
