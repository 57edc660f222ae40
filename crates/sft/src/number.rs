//! Rounding as the formats want it.

/// `value` to `places` decimals, ties to even as the decimal text of the exact binary value says; whatever is
/// not finite becomes 0.
#[must_use]
pub(crate) fn rounded(value: f64, places: usize) -> f64 {
    let rounded: f64 = format!("{value:.places$}").parse().unwrap_or(0.0);
    if rounded.is_finite() { rounded + 0.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn exact_ties_go_to_the_even_digit() {
        assert_eq!(rounded(0.03125, 4), 0.0312);
        assert_eq!(rounded(0.09375, 4), 0.0938);
        assert_eq!(rounded(0.53125, 4), 0.5312);
        assert_eq!(rounded(1.0 / 3.0, 6), 0.333_333);
        assert_eq!(rounded(f64::NAN, 4), 0.0);
        assert!(rounded(-0.000_001, 4).is_sign_positive());
    }
}
