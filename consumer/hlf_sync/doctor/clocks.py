"""Do the clocks agree? PostgreSQL's decides certificates, leases and the circuit; Dynamics' and
this machine's are what it is compared with.

Other examinations note what they saw of a clock, in seconds ahead of this machine's; the finding is
made at the end. Pure.
"""

from dataclasses import dataclass

from hlf_sync.doctor.finding import Finding, fail, ok, skipped, warn

CHECK = "clock"

# R06's figure: a database that is off by this much takes an expired certificate off the listing
# that much too late.
_MOST_S = 60.0
_SUSPICIOUS_S = 5.0


@dataclass(slots=True)
class Clocks:
    """Seconds ahead of this machine's clock; None where nobody answered. Dynamics tells whole
    seconds.
    """

    database_s: float | None = None
    dynamics_s: float | None = None

    def finding(self) -> Finding:
        """The verdict on all of them."""
        if self.database_s is None and self.dynamics_s is None:
            return skipped(CHECK, "neither PostgreSQL nor Dynamics told the time")
        seen = [
            f"{name} {ahead_s:+.1f} s"
            for name, ahead_s in (("PostgreSQL", self.database_s), ("Dynamics", self.dynamics_s))
            if ahead_s is not None
        ]
        text = f"against this machine: {', '.join(seen)}"
        if (
            self.database_s is not None
            and self.dynamics_s is not None
            and abs(self.database_s - self.dynamics_s) > _MOST_S
        ):
            return fail(
                CHECK, text, "PostgreSQL's clock decides when certificates end: let NTP keep it"
            )
        if (
            max(
                abs(ahead_s)
                for ahead_s in (self.database_s, self.dynamics_s)
                if ahead_s is not None
            )
            > _SUSPICIOUS_S
        ):
            return warn(
                CHECK,
                text,
                "let NTP keep this machine's clock and PostgreSQL's; freshness and log times are"
                " told by them",
            )
        return ok(CHECK, text)
