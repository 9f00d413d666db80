"""Container images made from nothing: no image registry is needed, and none is asked.

An image is a tar of files. `bb:1` is a static busybox; `py:1` is the Python that runs the tests, with aiohttp and the
shared libraries both need, at the very paths they have here.
"""

import hashlib
import importlib.metadata
import io
import os
import re
import stat
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "rig"

_PYTHON_PACKAGE = "aiohttp"
_INSTALLER = "pip"
_LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "turtledemo", "site-packages", "pydoc_data"}
_SITE = "/site"


class NoStaticBusybox(RuntimeError):
    """There is no busybox, or it needs shared libraries."""


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.size = len(content)
    entry.mode = mode
    tar.addfile(entry, io.BytesIO(content))


def _add_folder(tar: tarfile.TarFile, name: str, mode: int = 0o755) -> None:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.type = tarfile.DIRTYPE
    entry.mode = mode
    tar.addfile(entry)


def _add_link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.type = tarfile.SYMTYPE
    entry.linkname = target
    tar.addfile(entry)


def _add_ground(tar: tarfile.TarFile, busybox: Path) -> None:
    """What both images stand on: a shell with the usual tools, users, a place for temporary files."""
    for folder in ("bin", "etc", "www"):
        _add_folder(tar, folder)
    _add_folder(tar, "tmp", 0o1777)
    _add_bytes(tar, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
    _add_bytes(tar, "etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    _add_bytes(tar, "www/index.html", b"<!doctype html><title>busybox</title><p>Hello from busybox\n")
    _add_bytes(tar, "bin/busybox", busybox.read_bytes(), 0o755)
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            _add_link(tar, f"bin/{applet}", "busybox")


def busybox_image(busybox: Path) -> bytes:
    """The files of `bb:1`."""
    if _libraries([busybox]):
        raise NoStaticBusybox(f"{busybox} is not static")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add_ground(tar, busybox)
    return buffer.getvalue()


def _libraries(binaries: Iterable[Path]) -> set[str]:
    """The paths of the shared libraries that these need, the loader included."""
    found: set[str] = set()
    for binary in binaries:
        listing = subprocess.run(["ldd", binary], check=False, capture_output=True, text=True).stdout
        found.update(re.findall(r"(/\S+) \(0x", listing))
    return found


def _distribution_files(name: str, seen: set[str]) -> Iterator[Path]:
    """The files of an installed distribution and of those it requires here."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in seen:
        return
    seen.add(key)
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return  # required on other systems only, or for an extra
    for file in distribution.files or ():
        yield Path(str(distribution.locate_file(file)))
    for requirement in distribution.requires or ():
        if "extra ==" not in requirement and (match := re.match(r"[A-Za-z0-9._-]+", requirement)):
            yield from _distribution_files(match[0], seen)


def _content_key(busybox: Path, package: str) -> str:
    packages: set[str] = set()
    for _ in _distribution_files(package, packages):
        pass
    versions = [sys.version, sysconfig.get_path("stdlib")]
    for name in sorted(packages):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(name)
    parts = ["\n".join(versions).encode(), Path(__file__).read_bytes(), busybox.read_bytes()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:20]


def python_image(busybox: Path) -> Path:
    """The files of `py:1`, as a tar kept between runs for as long as its content would be the same."""
    return _kept("py", busybox, _PYTHON_PACKAGE)


def python_base(busybox: Path) -> Path:
    """The files of an image to build others on: this Python with pip, and what compiled packages link to. Kept, too."""
    return _kept("base", busybox, _INSTALLER)


def program_image(busybox: Path, program: Path) -> bytes:
    """The files of an image with one of this machine's programs in /bin, and the shared libraries it needs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add_ground(tar, busybox)
        _add_bytes(tar, f"bin/{program.name}", program.read_bytes(), 0o755)
        for library in sorted(_libraries([program])):
            tar.add(Path(library).resolve(), library.lstrip("/"), recursive=False)
    return buffer.getvalue()


def _kept(name: str, busybox: Path, package: str) -> Path:
    CACHE.mkdir(parents=True, exist_ok=True)
    made = CACHE / f"{name}-{_content_key(busybox, package)}.tar"
    if not made.exists():
        for outdated in CACHE.glob(f"{name}-*.tar"):
            outdated.unlink(missing_ok=True)
        # Under a name of its own until it is whole: another run may look for it at the same time.
        draft = made.with_suffix(f".{os.getpid()}")
        with tarfile.open(draft, mode="w") as tar:
            _add_python(tar, busybox, package)
        draft.rename(made)
    return made


def _standard_library() -> Iterator[Path]:
    stdlib = Path(sysconfig.get_path("stdlib"))
    for folder, subfolders, files in os.walk(stdlib):
        subfolders[:] = [name for name in subfolders if name not in _LEFT_OUT and not name.startswith("config-")]
        for file in files:
            source = Path(folder, file)
            # Byte code for `python -O` and archives for linking are half of its size and of no use here.
            if stat.S_ISREG(source.stat().st_mode) and not file.endswith((".opt-1.pyc", ".opt-2.pyc", ".a")):
                yield source
    # The standard library's extension modules may live apart from it.
    for source in Path(sysconfig.get_path("platstdlib"), "lib-dynload").glob("*.so"):
        if not source.is_relative_to(stdlib):
            yield source


def _add_python(tar: tarfile.TarFile, busybox: Path, package: str) -> None:
    _add_ground(tar, busybox)
    interpreter = Path(sys.executable).resolve()
    binaries = [interpreter]

    def add(source: Path, name: str) -> None:
        if source.suffix == ".so" or ".so." in source.name:
            binaries.append(source)
        tar.add(source.resolve(), name.lstrip("/"), recursive=False)

    for source in _standard_library():
        add(source, str(source))
    site = Path(sysconfig.get_path("purelib")).resolve()
    for source in sorted(set(_distribution_files(package, set()))):
        # Scripts lie outside of site-packages; no application needs them.
        if source.is_file() and source.resolve().is_relative_to(site):
            add(source, f"{_SITE}/{source.resolve().relative_to(site)}")
    tar.add(interpreter, str(interpreter).lstrip("/"), recursive=False)
    for name in ("python", "python3"):
        _add_link(tar, f"bin/{name}", str(interpreter))
    # What is installed in a base later may need more of the system than Python itself does.
    later = site.rglob("*.so") if package == _INSTALLER else ()
    for library in sorted(_libraries([*binaries, *later])):
        if not Path(library).is_relative_to(site):
            tar.add(Path(library).resolve(), library.lstrip("/"), recursive=False)


PYTHON_IMAGE_CHANGES = (f"ENV PYTHONPATH={_SITE}", "ENV PYTHONUNBUFFERED=1", "ENV PATH=/bin")
"""What `py:1` has besides files, in Dockerfile words."""
