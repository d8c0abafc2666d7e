"""An outage of the whole service: how it looks and until when. Values only; read by `exchange`, set
by `steering`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal["502", "503", "504", "reset", "hang", "refuse"]


class Outage(BaseModel):
    """`seconds` None: until ended. `token`: the token endpoint is away too. `refuse` closes the
    port for both.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = "503"
    seconds: float | None = Field(None, gt=0)
    api: bool = True
    token: bool = False
    retry_after: str | int | float | None = None

    def covers(self, kind: str) -> bool:
        """Say whether a request of that kind meets it."""
        return self.api if kind == "api" else self.token and kind in {"token", "discovery"}
