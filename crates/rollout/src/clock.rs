//! The time, as it is written to files, and stretches of it.

use std::time::Duration;

/// Ten years: no limit is longer, and adding it to a time overflows nothing.
const LONGEST_SEC: f64 = 315_360_000.0;

/// So many seconds, whatever the figure: a product of a limit and a multiplier may be of any size.
#[must_use]
pub fn seconds(figure: f64) -> Duration {
    // What is no number (infinity times 0) is no limit.
    Duration::from_secs_f64(if figure.is_nan() { LONGEST_SEC } else { figure.clamp(0.0, LONGEST_SEC) })
}

/// Now, ISO 8601 in UTC with microseconds: `2026-05-04T08:00:00.123456Z`.
#[must_use]
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Now, local time, as part of a job's name: `20260504080000`.
#[must_use]
pub fn job_stamp() -> String {
    jiff::ZonedDateTime::now().strftime("%Y%m%d%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_figure_is_a_stretch_of_time() {
        assert_eq!(seconds(1.5), Duration::from_millis(1500));
        assert_eq!(seconds(-1.0), Duration::ZERO);
        let longest = Duration::from_secs(315_360_000);
        for figure in [1e300, f64::INFINITY, f64::NAN] {
            assert_eq!(seconds(figure), longest, "{figure}");
        }
        assert!(std::time::Instant::now().checked_add(longest).is_some());
    }
}
