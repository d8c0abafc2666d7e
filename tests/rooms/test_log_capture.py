"""What one test logs for real takes nothing away from the next one's eyes."""

import structlog

from tests.fixtures.log_lines import captured


def test_a_logger_that_wrote_for_real_is_captured_afterwards() -> None:
    log = structlog.get_logger()
    for lines in captured():
        log.info("no_call")
        assert [line["event"] for line in lines.wait()] == ["no_call"]
    with structlog.testing.capture_logs() as seen:
        log.info("no_call")
    assert [line["event"] for line in seen] == ["no_call"]
