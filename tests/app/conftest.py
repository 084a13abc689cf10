"""An app's settings and visitors, and forms as a browser would send them."""

import shutil
from dataclasses import replace

import pytest

from hf_finemix.app.form import Form
from hf_finemix.app.sessions import Sessions
from hf_finemix.app.settings import AppSettings


@pytest.fixture
def settings(tmp_path):
    """The settings of an app that runs for its own user."""
    found = AppSettings(tmp_path / "app")
    for folder in (found.uploads, found.archives, found.sessions):
        folder.mkdir(parents=True)
    return found


@pytest.fixture
def for_strangers(settings):
    """The same for a hub-only app."""
    return replace(settings, hub_only=True)


@pytest.fixture
def sessions(settings):
    """Its visitors, who leave at the end."""
    found = Sessions(settings)
    yield found
    found.end_all()


@pytest.fixture
def session(sessions):
    """One of them."""
    return sessions.get("somebody")


@pytest.fixture
def upload(settings):
    """Puts a file where Gradio puts uploads; gives its path."""

    def put(path, name=None):
        folder = settings.uploads / f"{len(list(settings.uploads.iterdir())):064x}"
        folder.mkdir()
        return str(shutil.copyfile(path, folder / (name or path.name)))

    return put


@pytest.fixture
def form(tiny_place, upload):
    """A form of a tiny purification that takes no time."""
    return Form(
        suspect=str(tiny_place.suspect),
        pretrained=str(tiny_place.base),
        clean=upload(tiny_place.clean),
        evaluation=None,
        unlabeled=None,
        trigger="",
        target="",
        place="random",
        keep_ratio=0.1,
        auto=False,
        epochs=1,
        distillation_epochs=0,
        seed=0,
        text_columns="",
        label_column="",
    )
