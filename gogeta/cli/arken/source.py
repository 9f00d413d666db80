"""Where an Arken tree comes from: etcd's v2 keys, or v3 keys that they were migrated to. It only ever reads.

``etcdctl migrate`` writes each v2 key as a v3 key under the same path, with the same value. A server may have both:
then the v2 keys are taken, since those are what the older programs work on.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gogeta.cli.arken.keys import Bounds, Folder, Gathering
from gogeta.domain.errors import InvalidInputError, Problem
from gogeta.kit.setting_values import RegistryUrl
from gogeta.registry.etcd_transport import EtcdTransport
from gogeta.registry.etcd_v2 import EtcdV2, NotServedError
from gogeta.registry.etcd_wire import AnswerTooLargeError, after_key, entry_of, header_revision, range_of
from gogeta.registry.opening import read_password, tls_context
from gogeta.registry.store import CompactedError, RegistryError, RegistryUnavailableError
from gogeta.settings import RegistrySettings

Api = Literal["v2", "v3"]
OLDEST_V3: Final = (3, 4)
"""The first version with the JSON gateway under the paths that are used here."""
_PAGE: Final = 500


class SourceError(RegistryError):
    """The old tree could not be read. Nothing was changed; it may be tried again."""

    retry_safe = True


@dataclass(frozen=True, slots=True)
class Tree:
    """The two folders as they were read."""

    domains: Folder
    services: Folder
    api: Api
    keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which tree is read, and how."""

    settings: RegistrySettings
    """How that etcd is reached, said as a registry is: it has the same kinds of URL, certificates and users."""
    api: Literal["auto", "v2", "v3"] = "auto"
    domain_dir: str = "/domains"
    service_dir: str = "/services"
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def what(self) -> str:
        """Its name in messages."""
        return f"Arken tree at {shown_url(self.settings.registry)}"


def shown_url(url: RegistryUrl) -> str:
    """The URL as etcd's own tools have it, without a password."""
    return f"{'https' if url.scheme == 'etcds' else 'http'}://{','.join(str(endpoint) for endpoint in url.endpoints)}"


async def read_tree(source: Source) -> Tree:
    """The tree, within its bounds.

    Raises SourceError when etcd is away, is none, refuses or has no such folders; InvalidInputError for a tree that is
    too large or no tree.
    """
    with _named(source):
        async with _v2(source) as old:
            version = await old.version()
            if source.api == "v3" and version < OLDEST_V3:
                raise SourceError(
                    f"{source.what}: etcd {version[0]}.{version[1]} has no v3 API that is read here",
                    hint="--etcd-api v2 reads the keys that Arken used; for v3, etcd 3.4 or newer is needed",
                )
            tree = None
            why: RegistryError | None = None
            if source.api != "v3":
                try:
                    tree = await _read_v2(source, old)
                except NotServedError as error:
                    # Only this: where v2 keys exist and are refused, those of v3 may be of long ago.
                    if source.api == "v2" or version < OLDEST_V3:
                        raise
                    why = error
        if tree is None and source.api != "v2" and version >= OLDEST_V3:
            tree = await _read_v3(source)
        if tree is None:
            raise _nothing(source, version, why)
    return tree


def _nothing(source: Source, version: tuple[int, int], why: RegistryError | None) -> SourceError:
    both = source.api == "auto" and version >= OLDEST_V3
    asked = "v2 and v3 keys" if both else f"{'v2' if source.api == 'auto' else source.api} keys"
    passed = f" (v2 was not readable: {why.message})" if why is not None else ""
    return SourceError(
        f"{source.what}: there is nothing under {source.domain_dir} and {source.service_dir}, "
        f"looked at {asked}{passed}",
        hint="--domain-dir and --service-dir are the folders that the older gogeta was started with",
    )


@contextlib.contextmanager
def _named(source: Source) -> Iterator[None]:
    """Errors of etcd say that it is the old tree's: a command has to do with two."""
    try:
        yield
    except SourceError:
        raise
    except InvalidInputError as error:
        if error.what != "settings":
            raise
        # The files are said by options of the same names here.
        raise InvalidInputError("settings", tuple(map(_as_option, error.problems)), hint=error.hint) from None
    except AnswerTooLargeError:
        raise Gathering(source.what, source.bounds).too_large() from None
    except RegistryUnavailableError as error:
        raise SourceError(
            f"{source.what}: {error.message}", hint=error.hint.removesuffix("; it is tried again")
        ) from None
    except RegistryError as error:
        hint = error.hint
        if "permission denied" in error.message:
            hint = f"let the user read {source.domain_dir}/ and {source.service_dir}/"
        elif hint == "look at the user and the password of the registry" or "registry_ca" in hint:
            hint = "look at the user and the password in --etcd, --etcd-password-file and --etcd-ca"
        raise SourceError(f"{source.what}: {error.message}", hint=hint) from None


def _as_option(problem: Problem) -> Problem:
    name = str(problem.path[0]).replace("registry", "--etcd").replace("_", "-") if problem.path else "--etcd"
    return dataclasses.replace(problem, path=(name,))


@contextlib.asynccontextmanager
async def _v2(source: Source) -> AsyncIterator[EtcdV2]:
    url = source.settings.registry
    client = EtcdV2(
        url.endpoints,
        tls=tls_context(source.settings),
        user=url.user,
        password=read_password(source.settings),
        timeout=source.settings.registry_timeout,
    )
    try:
        yield client
    finally:
        await client.close()


async def _read_v2(source: Source, client: EtcdV2) -> Tree | None:
    gathering = Gathering(source.what, source.bounds)
    folders: list[Folder] = []
    for path in (source.domain_dir, source.service_dir):
        node = await client.folder(path, limit=source.bounds.size)
        if node is not None and not node.get("dir"):
            raise gathering.refuse(f"{path} is a value, expected a folder")
        folders.append(gathering.folder_of_node(node) if node is not None else {})
    return Tree(folders[0], folders[1], "v2", gathering.count) if gathering.count else None


async def _read_v3(source: Source) -> Tree | None:
    url = source.settings.registry
    transport = EtcdTransport(
        url.endpoints,
        tls=tls_context(source.settings),
        user=url.user,
        password=read_password(source.settings),
        timeout=source.settings.registry_timeout,
    )
    gathering = Gathering(source.what, source.bounds)
    folders: list[Folder] = []
    # Both at one moment: the revision of the first page.
    revision = 0
    try:
        for root in (source.domain_dir, source.service_dir):
            folders.append({})
            request: dict[str, Any] | None = range_of(root + "/")
            while request is not None:
                at = {"revision": str(revision)} if revision else {}
                answer = await transport.call("/v3/kv/range", {**request, **at, "limit": _PAGE})
                revision = revision or header_revision(answer)
                entries = [entry_of(kv) for kv in answer.get("kvs", [])]
                pairs = ((entry.key, entry.value.decode("utf-8", "surrogateescape")) for entry in entries)
                gathering.add(folders[-1], pairs, root)
                request = {**request, "key": after_key(entries[-1].key)} if answer.get("more") else None
    except CompactedError as error:
        raise SourceError(f"{error.message}: it was compacted while it was read", hint="try again") from None
    finally:
        await transport.close()
        # Let the connections' own tasks end, so that none is left behind when the loop closes.
        await asyncio.sleep(0)
    return Tree(folders[0], folders[1], "v3", gathering.count) if gathering.count else None
