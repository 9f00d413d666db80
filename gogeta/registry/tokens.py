"""The tokens of the admin API in the registry: made and revoked by an operator, mirrored by those who are asked."""

from __future__ import annotations

import logging

from gogeta.domain.errors import Fault, GogetaError, InvalidInputError
from gogeta.domain.tokens import MAX_TOKENS, Token
from gogeta.registry import keys
from gogeta.registry.codec import decode, encode
from gogeta.registry.mirror import Mirror
from gogeta.registry.store import Change, Delete, Entry, Guard, Listing, Put, Store

logger = logging.getLogger(__name__)


class TokenError(GogetaError):
    """There is a token of that name already, or there is none, or there are too many."""

    fault = Fault.OPERATOR


async def add_token(store: Store, name: str, token: Token) -> None:
    """Keep a new token. Raises TokenError, RegistryError."""
    present = (await store.list(keys.TOKENS)).entries
    if len(present) >= MAX_TOKENS:
        raise TokenError(f"there are {MAX_TOKENS} tokens already", hint="revoke what nobody uses: `gogeta token list`")
    result = await store.commit([Put(keys.token_key(name), encode(token))], [Guard(keys.token_key(name), 0)])
    if not result.happened:
        raise TokenError(
            f"there is a token {name!r} already", hint=f"`gogeta token revoke {name}` makes way for a new one"
        )


async def revoke_token(store: Store, name: str) -> None:
    """Forget a token. Raises TokenError, RegistryError."""
    entry = await store.get(keys.token_key(name))
    if entry is None:
        raise TokenError(f"there is no token {name!r}", hint="`gogeta token list` lists them")
    await store.commit([Delete(entry.key)])


async def list_tokens(store: Store) -> dict[str, Token]:
    """All tokens by name; what cannot be read is left out, and said in the log."""
    tokens = TokenMirror(store)
    tokens.reset(await store.list(keys.TOKENS))
    return tokens.by_name


class TokenMirror:
    """The tokens of the registry, live. While the registry is away, those that are known go on."""

    def __init__(self, store: Store) -> None:
        """``source`` is to be run as a task."""
        self.by_name: dict[str, Token] = {}
        self.source = Mirror(store, keys.TOKENS, self)

    def reset(self, listing: Listing) -> None:
        """Take a listing (the mirror's side)."""
        self.by_name = {}
        for entry in listing.entries:
            self._take(entry)

    def changed(self, change: Change) -> None:
        """Take a change (the mirror's side)."""
        if change.entry is None:
            self.by_name.pop(change.key.removeprefix(keys.TOKENS), None)
        else:
            self._take(change.entry)

    def _take(self, entry: Entry) -> None:
        name = entry.key.removeprefix(keys.TOKENS)
        self.by_name.pop(name, None)
        try:
            self.by_name[name] = decode(Token, entry.value, what=entry.key)
        except InvalidInputError as error:
            logger.error("a token that cannot be read allows nothing: %s", error)  # noqa: TRY400 - its words say all
