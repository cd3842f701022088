import sys

import pytest

from shipway import plugins
from shipway.errors import Broken


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a package that adds hooks."""

    def install(**hooks):
        folder = tmp_path / "extra-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
        lines = [f"[{group}]\n{name} = {target}\n" for group, (name, target) in hooks.items()]
        (folder / "entry_points.txt").write_text(
            "\n".join(lines).replace("runtimes]", "shipway.runtimes]").replace("packers]", "shipway.packers]")
        )
        (tmp_path / "extra_hooks.py").write_text("def load(audited): return audited\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    sys.modules.pop("extra_hooks", None)


def test_without_plug_ins_there_are_our_own_runtimes():
    assert {"onnx", "lightgbm"} <= set(plugins.runtimes())


def test_an_installed_runtime_and_packer_are_found_by_name(plugin):
    plugin(runtimes=("quantum", "extra_hooks:load"), packers=("mine", "extra_hooks:load"))

    assert plugins.runtimes()["quantum"]("x") == "x"
    assert set(plugins.packers()) == {"mine"}


def test_no_plug_in_replaces_one_of_our_runtimes(plugin):
    ours = plugins.runtimes()["onnx"]
    plugin(runtimes=("onnx", "extra_hooks:load"))

    assert plugins.runtimes()["onnx"] is ours


def test_a_plug_in_that_cannot_be_loaded_is_named(plugin):
    plugin(packers=("mine", "extra_hooks:nothing"))

    with pytest.raises(Broken, match="'mine' of extra cannot be loaded"):
        plugins.packers()
