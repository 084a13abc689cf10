"""Signatures of published folders, by the OpenSSF's model-signing (extra `sign`): who published, not only what."""

import io
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from .errors import InputError, reason


SIGNATURE_FILE = "model.sig"


def sign(files: Mapping[str, Path | bytes], private_key: str | Path) -> bytes:
    """
    Signs files with a private key of an elliptic curve.

    Args:
        files (`Mapping[str, Path | bytes]`): Files, or their content, by their names in the published folder.
        private_key (`str` or `Path`): The key, a PEM file without a password.

    Returns:
        `bytes`: The signature, a Sigstore bundle that `model_signing verify key` reads as well.

    Raises:
        InputError: If the extra is not installed, or the key cannot be used.
    """
    config = signer(private_key)
    with _laid_out(files) as folder, tempfile.TemporaryDirectory() as other:
        path = Path(other) / SIGNATURE_FILE
        config.sign(folder, path)
        return path.read_bytes()


def signer(private_key: str | Path) -> Any:
    """
    Returns what signs with a private key; so that a key that cannot be used is noticed before any work.

    Raises:
        InputError: If the extra is not installed, or the key cannot be used.
    """
    signing, hashing = _import("signing"), _import("hashing")
    key = _check_key(private_key, "--sign-key")
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=key)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"--sign-key {str(private_key)!r} is no unencrypted private key of an elliptic curve: {error}"
        ) from None
    return config.set_hashing_config(_hashing(hashing))


def check_signature(files: Mapping[str, Path], signature: Path, public_key: str | Path) -> str | None:
    """
    Checks that a signature is over exactly these files, and made with the key that belongs to a public one.

    Args:
        files (`Mapping[str, Path]`): The files by their names in the published folder.
        signature (`Path`): The signature.
        public_key (`str` or `Path`): The key, a PEM file.

    Returns:
        `str`, *optional*: What is wrong; `None` if the signature holds.

    Raises:
        InputError: If the extra is not installed, or the key cannot be used.
    """
    verifying, hashing = _import("verifying"), _import("hashing")
    key = _check_key(public_key, "--public-key")
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"--public-key {str(public_key)!r} is no public key of an elliptic curve: {reason(error)}"
        ) from None
    # The library prints remarks of its own.
    with _laid_out(files) as folder, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            config.set_hashing_config(_hashing(hashing)).verify(folder, signature)
        # A signature of a stranger can be wrong in any way, and each part of the library says so with its own type.
        except Exception as error:
            return reason(error)
    return None


@contextmanager
def _laid_out(files: Mapping[str, Path | bytes]) -> Iterator[Path]:
    """Gives a folder with these files and no others; those that lie elsewhere are links."""
    with tempfile.TemporaryDirectory(prefix="finemix-") as temporary:
        folder = Path(temporary)
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.symlink_to(content.resolve())
        yield folder


def _hashing(hashing: Any) -> Any:
    config = hashing.Config().use_file_serialization(hashing_algorithm="sha256", allow_symlinks=True)
    # That one argument alone has no effect in every release.
    return config.set_allow_symlinks(True)


def _check_key(path: str | Path, argument: str) -> Path:
    if not Path(path).is_file():
        raise InputError(f"{argument} {str(path)!r} is no file; give a key in PEM form.")
    return Path(path)


def _import(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"model_signing.{name}")
    except ImportError:
        raise InputError("Signatures need `pip install hf-finemix[sign]`.") from None
