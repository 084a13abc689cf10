"""Signatures: made with the commit, over exactly what is published, and broken by every change of it."""

import json
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from hf_finemix import InputError, publish
from hf_finemix.signing import SIGNATURE_FILE, check_signature, sign
from hf_finemix.verifying import verify

from .files import run
from .hub import LoopbackHub, connect
from .purified import FILES, TOKEN, one_line, read


def write_keys(folder, name="key", key=None, password=None):
    """Writes a private key and its public one as PEM files; gives both paths."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption_algorithm=lock)
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with LoopbackHub() as hub:
        hub.add_user("me", TOKEN)
        connect(monkeypatch, hub, tmp_path / "home", token=TOKEN)
        yield hub


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path)


@pytest.fixture
def download(hub, tmp_path):
    """Lays the files of me/purified into a new folder; gives them by name and the signature's path."""

    def download():
        copy = tmp_path / "copy"
        copy.mkdir()
        for name, content in hub.files("me/purified").items():
            (copy / name).write_bytes(content)
        return {
            name: copy / name for name in read(copy).keys() - {SIGNATURE_FILE, ".gitattributes"}
        }, copy / SIGNATURE_FILE

    return download


@pytest.fixture
def signed(tmp_path, keys):
    """Two signed files, their signature and the public key."""
    private, public = keys
    files = {"config.json": tmp_path / "config.json", "sub/weights.safetensors": tmp_path / "weights"}
    for number, path in enumerate(files.values()):
        path.write_bytes(b"content %d" % number)
    signature = tmp_path / SIGNATURE_FILE
    signature.write_bytes(sign(files, private))
    assert check_signature(files, signature, public) is None
    return files, signature, public


def test_signature_is_part_of_the_commit(folder, hub, keys, download, tmp_path, capsys):
    private, public = keys
    before = read(folder)
    status, out, err = run(capsys, ["push", folder, "me/purified", f"--sign-key={private}"])
    assert status == 0, err
    newest, _ = hub.commits("me/purified")
    assert set(newest.changed) == FILES | {SIGNATURE_FILE}
    assert "Published 9 files" in out and read(folder) == before
    files, signature = download()
    assert files.keys() == FILES and check_signature(files, signature, public) is None
    assert not verify("me/purified", public_key=public).failed()
    assert not [request for request in hub.received if b"PRIVATE KEY" in request or str(tmp_path).encode() in request]


def test_other_tools_can_check_it(folder, hub, keys, download):
    publish(folder, "me/purified", sign_key=keys[0])
    files, signature = download()
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(signature.parent)]
    command += ["--signature", str(signature), "--public_key", str(keys[1])]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    files["config.json"].write_bytes(b"{}")
    assert subprocess.run(command, capture_output=True, timeout=300).returncode != 0


@pytest.mark.parametrize("name", sorted(FILES))
def test_one_flipped_bit_is_named(name, folder, hub, keys, download):
    publish(folder, "me/purified", sign_key=keys[0])
    files, signature = download()
    content = bytearray(files[name].read_bytes())
    content[len(content) // 2] ^= 1
    files[name].write_bytes(content)
    assert name in check_signature(files, signature, keys[1])


def test_extra_missing_and_exchanged_files_are_named(signed, tmp_path):
    files, signature, public = signed
    (tmp_path / "more").write_bytes(b"more")
    assert "more.txt" in check_signature(files | {"more.txt": tmp_path / "more"}, signature, public)
    fewer = dict(files)
    fewer.pop("sub/weights.safetensors")
    assert "sub/weights.safetensors" in check_signature(fewer, signature, public)
    names, paths = list(files), list(files.values())
    assert "config.json" in check_signature(dict(zip(names, reversed(paths), strict=True)), signature, public)


def test_another_key_is_noticed(signed, tmp_path):
    files, signature, _ = signed
    assert "key" in check_signature(files, signature, write_keys(tmp_path, "other")[1]).lower()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"null", b"\xff\xfe", b"\x80\x04."])
def test_signature_that_is_none(content, signed):
    files, signature, public = signed
    signature.write_bytes(content)
    wrong = check_signature(files, signature, public)
    assert wrong and "\n" not in wrong


def test_forged_signatures(signed, capfd):
    files, signature, public = signed
    bundle = json.loads(signature.read_text())
    for change in (
        lambda bundle: bundle["dsseEnvelope"]["signatures"][0].update(sig="AAAA"),
        lambda bundle: bundle["dsseEnvelope"].update(payload="e30="),
        lambda bundle: bundle["dsseEnvelope"].update(signatures=[]),
        lambda bundle: bundle["verificationMaterial"]["publicKey"].update(hint="0" * 64),
        lambda bundle: bundle.pop("verificationMaterial"),
    ):
        forged = json.loads(json.dumps(bundle))
        change(forged)
        signature.write_text(json.dumps(forged))
        wrong = check_signature(files, signature, public)
        assert wrong and "\n" not in wrong
    # A library that prints would spoil `verify --json`.
    bundle["verificationMaterial"]["publicKey"].pop("hint")
    signature.write_text(json.dumps(bundle))
    check_signature(files, signature, public)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_curves(curve, signed, tmp_path):
    files, signature, _ = signed
    private, public = write_keys(tmp_path, "other", ec.generate_private_key(curve))
    signature.write_bytes(sign(files, private))
    assert check_signature(files, signature, public) is None


def bad_keys(folder):
    """Gives paths of keys that cannot be used: private and public one, or twice the same."""
    (folder / "bad.pem").write_bytes(b"not a key")
    encrypted = write_keys(folder, "encrypted", password=b"secret")
    return {
        "missing": (folder / "nowhere.pem",) * 2,
        "folder": (folder,) * 2,
        "no PEM": (folder / "bad.pem",) * 2,
        "RSA": write_keys(folder, "rsa", rsa.generate_private_key(65537, 2048)),
        "other curve": write_keys(folder, "other", ec.generate_private_key(ec.SECP256K1())),
        "encrypted": (encrypted[0],) * 2,
        "exchanged": write_keys(folder)[::-1],
    }


BAD_KEYS = ("missing", "folder", "no PEM", "RSA", "other curve", "encrypted", "exchanged")


@pytest.mark.parametrize("name", BAD_KEYS)
def test_bad_private_key_is_refused_before_anything_is_made(name, folder, hub, tmp_path):
    with pytest.raises(InputError, match=r"--sign-key '.*' is no ") as error:
        publish(folder, "me/purified", sign_key=bad_keys(tmp_path)[name][0])
    assert one_line(error) and not hub.store.repositories


@pytest.mark.parametrize("name", BAD_KEYS)
def test_bad_public_key_is_refused(name, signed, tmp_path):
    files, signature, _ = signed
    with pytest.raises(InputError, match=r"--public-key '.*' is no ") as error:
        check_signature(files, signature, bad_keys(tmp_path)[name][1])
    assert one_line(error)


def test_command_line_with_a_bad_key(folder, hub, tmp_path, capsys):
    status, out, err = run(capsys, ["push", folder, "me/purified", "--sign-key", tmp_path / "nowhere.pem"])
    assert (status, out, err.count("\n")) == (2, "", 1) and "is no file; give a key in PEM form" in err


def test_later_push_without_a_signature_removes_it(folder, hub, keys):
    publish(folder, "me/purified", sign_key=keys[0])
    published = publish(folder, "me/purified")
    newest = hub.commits("me/purified")[0]
    assert published.removed == newest.deleted == (SIGNATURE_FILE,) and newest.changed == ()
    assert hub.files("me/purified").keys() == FILES | {".gitattributes"}
    assert verify("me/purified", public_key=keys[1]).failed()


def test_signed_commit_whose_answer_is_lost_is_made_once(folder, hub, keys, download, monkeypatch):
    monkeypatch.setattr("hf_finemix.hub_errors.time.sleep", lambda seconds: None)
    hub.fail("POST", "/commit/", 504, after_handling=True)
    publish(folder, "me/purified", sign_key=keys[0])
    assert len(hub.commits("me/purified")) == 2
    assert check_signature(*download(), keys[1]) is None


def test_without_the_extra(signed, keys, folder, hub, monkeypatch):
    files, signature, public = signed
    for name in ("model_signing", "model_signing.signing", "model_signing.verifying", "model_signing.hashing"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (
        lambda: sign(files, keys[0]),
        lambda: check_signature(files, signature, public),
        lambda: publish(folder, "me/purified", sign_key=keys[0]),
    ):
        with pytest.raises(InputError, match=r"pip install hf-finemix\[sign\]") as error:
            call()
        assert one_line(error)
    assert not hub.store.repositories
