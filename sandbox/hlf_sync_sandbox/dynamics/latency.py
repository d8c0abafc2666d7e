"""How long the emulated service takes: distributions as values.

Used by `faults` and `emulator`; the caller brings the randomness. Pure.
"""

import math
from random import Random
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Latency(BaseModel):
    """A distribution in seconds; `cap_s` cuts the tail of the log-normal one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["constant", "uniform", "lognormal"] = "constant"
    seconds: float = Field(0.0, ge=0, le=3600)
    low_s: float = Field(0.0, ge=0, le=3600)
    high_s: float = Field(0.0, ge=0, le=3600)
    median_s: float = Field(0.1, gt=0, le=3600)
    sigma: float = Field(0.5, ge=0, le=5)
    cap_s: float = Field(60.0, gt=0, le=3600)

    @model_validator(mode="after")
    def _ordered(self) -> "Latency":
        if self.high_s < self.low_s:
            msg = "high_s must not be below low_s"
            raise ValueError(msg)
        return self

    def draw(self, random: Random) -> float:
        """Give one duration in seconds."""
        match self.kind:
            case "constant":
                return self.seconds
            case "uniform":
                return random.uniform(self.low_s, self.high_s)
            case "lognormal":
                return min(self.cap_s, random.lognormvariate(math.log(self.median_s), self.sigma))


NONE = Latency()
