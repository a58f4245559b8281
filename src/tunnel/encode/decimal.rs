//! Decimal text as other writers send it.

/// Most digits that an exponent may add: far more than a DECIMAL has.
const EXPONENT_MAX: usize = 128;

/// A number with an exponent, such as `-1E-18` (Python writes small ones so), in plain digits; the scale is kept. `None` for
/// what is no such number, or one with an absurd exponent.
pub(super) fn without_exponent(text: &str) -> Option<String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = rest.split_once(['e', 'E'])?;
    let exponent: isize = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) || exponent.unsigned_abs() > EXPONENT_MAX
    {
        return None;
    }
    // Digits before the point; below zero there are zeros behind it first.
    let point = isize::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let zeros = |count: isize| "0".repeat(usize::try_from(count).unwrap_or_default());
    let length = isize::try_from(digits.len()).ok()?;
    let (whole, fraction) = if point <= 0 {
        ("0".to_owned(), format!("{}{digits}", zeros(point.checked_neg()?)))
    } else if point >= length {
        (format!("{digits}{}", zeros(point.checked_sub(length)?)), String::new())
    } else {
        let (whole, fraction) = digits.split_at_checked(usize::try_from(point).ok()?)?;
        (whole.to_owned(), fraction.to_owned())
    };
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{dot}{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_written_out() {
        for (text, plain) in [
            ("-1E-18", "-0.000000000000000001"),
            ("1E+3", "1000"),
            ("1.5e3", "1500"),
            ("12.345E1", "123.45"),
            ("0E-2", "0.00"),
            ("+00.5E0", "0.5"),
            ("9.99E2", "999"),
        ] {
            assert_eq!(without_exponent(text).as_deref(), Some(plain), "{text}");
        }
        for text in ["1.5", "E5", "1E", "1E999999999", "1E-129", "x1E2", "", "1E99999999999999999999"] {
            assert_eq!(without_exponent(text), None, "{text}");
        }
    }
}
