//! The time, as it is written to files.

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
