"""What is read of a plugin before anything of it is imported."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from jackfield._manifest import Found, Manifest, discover
from tests.support.plugins import write_plugin


def found(folder: Path) -> list[Found]:
    """Return what stands in the folder."""
    return discover([str(folder)])


def metadata(folder: Path, name: str = "METADATA") -> Path:
    """Return the file of the only distribution in the folder."""
    (info,) = folder.glob("*.dist-info")
    return info / name


def test_all_of_the_manifest_comes_from_the_metadata(tmp_path: Path) -> None:
    """Name, target, distribution, version, summary, requirements and namespaces; the module is not even looked for."""
    write_plugin(
        tmp_path,
        "orders",
        "raise SystemExit",
        namespaces=["api.orders", "api.a_b.C"],
        distribution="Acme.Orders",
        version="2.1",
        target="acme.orders:plugin",
        requires=["jackfield>=0.1,<0.2", "Acme_Base>1", "pydantic"],
    )
    manifest = Manifest(
        name="orders",
        target="acme.orders:plugin",
        distribution="Acme.Orders",
        version="2.1",
        summary="The plugin orders",
        requires_kernel="<0.2,>=0.1",
        requires=frozenset({canonicalize_name("acme-base"), canonicalize_name("pydantic")}),
        namespaces=("api.a_b.C", "api.orders"),
    )
    assert found(tmp_path) == [Found(manifest)]
    assert manifest.qualified == "Acme.Orders:orders"
    assert manifest.module == "acme.orders"


def test_manifests_are_sorted_by_name(tmp_path: Path) -> None:
    """And by distribution, where two have one name."""
    for distribution, name in (("b", "one"), ("a", "two"), ("a-one", "one")):
        write_plugin(tmp_path, name, "", distribution=distribution)
    assert [one.manifest.qualified for one in found(tmp_path)] == ["a-one:one", "b:one", "a:two"]


def test_a_distribution_may_hold_several_plugins(tmp_path: Path) -> None:
    """A namespace belongs to the plugin whose entry point has the same target."""
    write_plugin(tmp_path, "one", "")
    metadata(tmp_path, "entry_points.txt").write_text(
        "[jackfield.plugins]\none = m:one\ntwo = m:two\n[jackfield.namespaces]\napi.one = m:one\napi.two = m:two\n"
    )
    assert {one.manifest.name: one.manifest.namespaces for one in found(tmp_path)} == {
        "one": ("api.one",),
        "two": ("api.two",),
    }


def test_the_first_of_two_copies_counts(tmp_path: Path) -> None:
    """As with an import, what stands first on the path is what is meant."""
    write_plugin(tmp_path / "first", "one", "", distribution="Same.Thing", version="1.0")
    write_plugin(tmp_path / "second", "one", "", distribution="same-thing", version="2.0")
    assert [one.manifest.version for one in discover([str(tmp_path / "first"), str(tmp_path / "second")])] == ["1.0"]


def test_requirements_that_do_not_apply_here_are_left_out(tmp_path: Path) -> None:
    """Those of an extra, and those whose marker is about another Python."""
    requires = [
        "jackfield>=0.1",
        'jackfield>=99; extra == "new"',
        'old; python_version < "3"',
        'new; python_version > "3"',
    ]
    write_plugin(tmp_path, "one", "", requires=requires)
    (one,) = found(tmp_path)
    assert (one.manifest.requires_kernel, one.manifest.requires) == (">=0.1", frozenset({"new"}))


def test_several_requirements_on_the_kernel_hold_together(tmp_path: Path) -> None:
    """Each line narrows the versions that the plugin allows."""
    write_plugin(tmp_path, "one", "", requires=["jackfield>=0.1", "Jackfield[standard]<0.2", "jackfield"])
    assert found(tmp_path)[0].manifest.requires_kernel == ">=0.1,<0.2"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("With-Hyphen", "a plugin's name has lower-case letters, digits and _ only, not 'With-Hyphen'"),
        ("9lives", "a plugin's name has lower-case letters, digits and _ only, not '9lives'"),
        ("ünicode", "a plugin's name has lower-case letters, digits and _ only, not 'ünicode'"),
        *[
            (name, f"'{name}' is a key of the configuration, so no plugin can have that name")
            for name in ("policy", "enabled", "disabled", "strict")
        ],
    ],
)
def test_a_name_that_cannot_be(tmp_path: Path, name: str, problem: str) -> None:
    """It must do as a key of the configuration, and not be one already."""
    write_plugin(tmp_path, name, "", module="one", distribution="one")
    (one,) = found(tmp_path)
    assert one.manifest.name == name
    assert one.fault == f"its manifest is invalid: name: Value error, {problem}"


def test_all_problems_of_a_manifest_are_reported(tmp_path: Path) -> None:
    """A name, a namespace, a version and two requirements that cannot be, in one sentence."""
    write_plugin(tmp_path, "No", "", namespaces=["api", "api..no"], requires=["a is b", 'c; python_version ~= "x"'])
    file = metadata(tmp_path)
    file.write_text(file.read_text().replace("Version: 1.0\n", ""))
    (one,) = found(tmp_path)
    assert one.fault == (
        "its manifest is invalid: "
        "name: Value error, a plugin's name has lower-case letters, digits and _ only, not 'No'; "
        "version: String should have at least 1 character; "
        "namespaces: Value error, a namespace is a dotted path in letters, digits and _, not 'api..no'; "
        "its metadata has a requirement that cannot be read: 'a is b'; "
        "its metadata has a requirement that cannot be read: 'c; python_version ~= \"x\"'"
    )
    assert one.manifest.namespaces == ("api", "api..no")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        pytest.param("METADATA", b"Name: \xff\nVersion: 1\n", id="metadata that is no UTF-8"),
        pytest.param("entry_points.txt", b"[jackfield.plugins]\nbro\xffken = a\n", id="entry points that are no UTF-8"),
        pytest.param("entry_points.txt", b"[jackfield.plugins]\nbroken\n", id="entry points without a value"),
    ],
)
def test_metadata_that_cannot_be_read_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, content: bytes
) -> None:
    """One damaged distribution hides none of the others; the log tells where it is."""
    write_plugin(tmp_path / "damaged", "one", "")
    metadata(tmp_path / "damaged", file).write_bytes(content)
    write_plugin(tmp_path / "whole", "two", "")
    assert [one.manifest.name for one in discover([str(tmp_path / "damaged"), str(tmp_path / "whole")])] == ["two"]
    told = f"a distribution in {tmp_path / 'damaged'} is passed over: its metadata cannot be read: "
    assert [message.startswith(told) for message in caplog.messages] == [True]


def test_a_distribution_without_a_name_is_none(tmp_path: Path) -> None:
    """What an interrupted installation leaves behind is ignored."""
    write_plugin(tmp_path, "one", "")
    metadata(tmp_path).unlink()
    assert found(tmp_path) == []


def test_by_default_everything_that_is_installed_is_found() -> None:
    """The workspace's own plugins are there, with the kernel versions that they allow."""
    by_name = {one.manifest.name: one for one in discover()}
    assert by_name["demo"] == Found(
        Manifest(
            name="demo",
            target="jackfield_demo",
            distribution="jackfield-demo",
            version=version("jackfield-demo"),
            summary=by_name["demo"].manifest.summary,
            requires_kernel="<0.2,>=0.1",
            requires=by_name["demo"].manifest.requires,
            namespaces=("api.services.test",),
        )
    )
