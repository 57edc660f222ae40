//! Numbers and times spelled as Harbor's Python spells them.

use jiff::Timestamp;

/// `value` as Python's `repr` prints a float: `1.0`, `0.5`, `1e-05`, `1e+16`.
///
/// Both languages print as few digits as read back as the same number. They differ in which of two
/// equally near spellings they take (Python: the even one), in when an exponent is written (Python:
/// below 1e-4 and from 1e16 on) and how (two digits at least, with sign).
#[must_use]
pub fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let shortest = format!("{value:e}");
    let n_digits = shortest.split('e').next().unwrap_or_default().bytes().filter(u8::is_ascii_digit).count();
    // With the number of digits given, both languages round to even.
    let after_point = n_digits.saturating_sub(1);
    let even = Some(format!("{value:.after_point$e}")).filter(|even| even.parse() == Ok(value));
    let spelled = even.unwrap_or(shortest);
    let (digits, exponent) = spelled.split_once('e').unwrap_or((&spelled, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits = digits.replace('.', "");
    if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("{sign}0.{zeros}{digits}");
    }
    let before_point = usize::try_from(exponent).unwrap_or(0) + 1;
    let padded = format!("{digits:0<width$}", width = before_point + 1);
    let (whole, fraction) = padded.split_at(before_point);
    format!("{sign}{whole}.{fraction}")
}

/// `at` as pydantic prints a time in UTC: microseconds, left out when they are 0, and `Z`.
#[must_use]
pub fn timestamp(at: Timestamp) -> String {
    let micros = at.as_microsecond();
    let whole = Timestamp::from_microsecond(micros).unwrap_or(at);
    if micros % 1_000_000 == 0 { format!("{whole:.0}") } else { format!("{whole:.6}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_spelled_as_python_does() {
        for (value, spelled) in [
            (1.0, "1.0"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (0.5, "0.5"),
            (1.0 / 3.0, "0.3333333333333333"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (123_456_789.125, "123456789.125"),
            (1e15, "1000000000000000.0"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.25e22, "1.25e+22"),
            (-2.5e100, "-2.5e+100"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            // Halfway between two spellings of equal length.
            (2_103_215_623_089_491.0 + 0.25, "2103215623089491.2"),
            (0.001, "0.001"),
            (-12.5, "-12.5"),
            (100.0, "100.0"),
            (9.5367431640625e-7, "9.5367431640625e-07"),
        ] {
            assert_eq!(python_float(value), spelled);
        }
    }

    #[test]
    fn times_are_spelled_as_pydantic_does() {
        let at = |text: &str| timestamp(text.parse().unwrap());
        assert_eq!(at("2026-05-04T08:00:00Z"), "2026-05-04T08:00:00Z");
        assert_eq!(at("2026-05-04T08:00:00.12Z"), "2026-05-04T08:00:00.120000Z");
        assert_eq!(at("2026-05-04T10:00:00.123456789+02:00"), "2026-05-04T08:00:00.123456Z");
    }
}
