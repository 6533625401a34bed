"""Who may do what: scopes, the roles that are made of them, and who acts by which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from turnlab.errors import Forbidden, InvalidToken

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractUser, AnonymousUser


class Role(StrEnum):
    """What a token or a person is for; see docs/reference/tokens.md."""

    ADMINISTRATOR = "administrator"
    RESEARCHER = "researcher"
    ANNOTATOR = "annotator"
    WORKER = "worker"
    CLIENT = "client"


SCOPES: Mapping[str, str] = {
    "admin": "make and revoke tokens, change projects, delete records",
    "annotate": "write annotations",
    "clusters:read": "list Clusters, Modules and workers",
    "export": "export records",
    "media:read": "read the sounds and pictures of Tracks that one may read",
    "metrics:read": "read /metrics",
    "openai": "use the OpenAI-compatible endpoints",
    "tasks:queue": "queue a Task for a Module by itself",
    "tasks:work": "take Tasks and post their results over HTTP",
    "tracks:cancel": "cancel Tracks that one may read",
    "tracks:read": "read one's own Tracks",
    "tracks:read_all": "read everybody's Tracks",
    "tracks:start": "start Tracks",
    "workers:connect": "connect a worker",
}
"""Every scope and what it lets one do."""

_CLIENT = {
    "clusters:read",
    "media:read",
    "openai",
    "tracks:cancel",
    "tracks:read",
    "tracks:start",
}

ROLES: Mapping[Role, frozenset[str]] = {
    Role.ADMINISTRATOR: frozenset(SCOPES),
    Role.RESEARCHER: frozenset(
        {*_CLIENT, "export", "metrics:read", "tasks:queue", "tracks:read_all"}
    ),
    Role.ANNOTATOR: frozenset(
        {"annotate", "clusters:read", "media:read", "tracks:read", "tracks:read_all"}
    ),
    Role.WORKER: frozenset({"clusters:read", "tasks:work", "workers:connect"}),
    Role.CLIENT: frozenset(_CLIENT),
}
"""The scopes of each role."""

PEOPLE = (Role.RESEARCHER, Role.ANNOTATOR)
"""Roles that a person has by being in the group of that name; a superuser is an administrator."""


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who acts: what they start belongs to `owner`. `token_id` is empty for a signed-in person."""

    owner: str
    project: str = "default"
    role: str
    scopes: frozenset[str]
    token_id: str = ""

    @classmethod
    def from_user(cls, user: AbstractUser | AnonymousUser) -> Principal:
        """The person who is signed in to the admin; one in no group of a role may do nothing.

        Raises InvalidToken if nobody is, or an account that was closed.
        """
        if not (user.is_authenticated and user.is_active):
            raise InvalidToken("Nobody is signed in; sign in at /admin/ or send a token.")
        if user.is_superuser:
            held = [Role.ADMINISTRATOR]
        else:
            groups = set(user.groups.values_list("name", flat=True))
            held = [role for role in PEOPLE if role in groups]
        return cls(
            owner=user.get_username(),
            role=held[0] if held else "",
            scopes=frozenset().union(*(ROLES[role] for role in held)),
        )


LOCAL = Principal(owner="", role=Role.ADMINISTRATOR, scopes=ROLES[Role.ADMINISTRATOR])
"""The command line of this machine: who can run it can read the database anyway."""


def require(principal: Principal, scope: str) -> None:
    """Raise Forbidden unless `principal` has the scope; one that does not exist is nobody's."""
    if scope not in principal.scopes:
        who = f"The role {principal.role!r}" if principal.role else "An account without a role"
        raise Forbidden(
            f"{who} may not do this here: it takes the scope {scope!r}; ask for a token that "
            "has it, see docs/reference/tokens.md."
        )


def may_read(principal: Principal, owner: str) -> bool:
    """Whether `principal` may read what belongs to `owner`: their own, or everybody's."""
    if "tracks:read_all" in principal.scopes:
        return True
    return "tracks:read" in principal.scopes and principal.owner == owner
