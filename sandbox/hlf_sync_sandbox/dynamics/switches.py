"""What an administrator of the organisation can have switched on or off. Values only; read by
`dataverse`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Switches(BaseModel):
    """Privileges of the application user's role, and how the environment is set up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    app_user: bool = True
    """Off: no application user for any app registration, 403 0x80072560 (E6)."""
    can_write: bool = True
    """prvWriteContact; off: 403 0x80040220 (E5)."""
    can_read: bool = True
    """prvReadContact."""
    can_create: bool = True
    """prvCreateContact. On, although least privilege would have it off, so that a forgotten If-Match shows (E3)."""
    can_delete: bool = False
    """prvDeleteContact."""
    column_secured: bool = False
    """The visibility column is column-secured and the role may not update it: 403 0x8004f507."""
    unauthorized_body: Literal["empty", "json"] = "empty"
    """What a 401 carries (E8; which is real is unverified)."""
    keep_alive: bool = True
    """Off: every answer closes its connection."""
    dop_hint: int = Field(4, ge=1)
    servers: int = Field(1, ge=1, le=64)
    """Web servers behind the front end, each with limits of its own; a trial environment has one."""
