"""The dead-letter limiter: a misconfiguration must not empty the changes topic into the dead
letters (docs/design.md, section 5).

Pure; the pipeline feeds it every outcome and halts when it says so.
"""

from collections import deque
from dataclasses import dataclass

_ROUNDING = 1e-9  # 0.29 * 100 is 28.999…, and 29 of 100 are not more than 29 %


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """More than `ratio` of the last `window` outcomes, or `run` in a row, is a flood; 0 switches
    either off.
    """

    ratio: float = 0.5
    window: int = 100
    run: int = 50


class Limiter:
    """Outcomes so far, of this worker since its start or since the operator's word."""

    def __init__(self, policy: LimitPolicy) -> None:
        self._policy = policy
        self._recent: deque[bool] = deque(maxlen=policy.window or 1)
        self._letters = 0
        self._run = 0

    def succeeded(self, count: int = 1) -> None:
        """Outcomes that were no dead letters."""
        if count:
            self._run = 0
        for _ in range(min(count, self._policy.window)):
            self._note(is_letter=False)

    def lettered(self) -> str | None:
        """One more dead letter; why that is too many, or None."""
        self._run += 1
        self._note(is_letter=True)
        if self._policy.run and self._run >= self._policy.run:
            return f"{self._run} dead letters in a row"
        is_full = len(self._recent) == self._policy.window
        if (
            self._policy.ratio
            and is_full
            and self._letters > self._policy.ratio * self._policy.window + _ROUNDING
        ):
            return f"{self._letters} of the last {self._policy.window} outcomes were dead letters"
        return None

    def reset(self) -> None:
        """An operator looked and said: go on."""
        self._recent.clear()
        self._letters = self._run = 0

    def _note(self, *, is_letter: bool) -> None:
        if len(self._recent) == self._recent.maxlen:
            self._letters -= self._recent[0]
        self._recent.append(is_letter)
        self._letters += is_letter
