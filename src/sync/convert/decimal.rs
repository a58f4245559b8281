//! Decimal text, exactly: no value goes through a float.

/// A decimal number taken apart: `digits` × 10^-`scale`, with a sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    /// ASCII digits, at least one, without needless leading zeros.
    digits: Vec<u8>,
    /// Digits after the point; negative for trailing zeros that are not written out.
    scale: i64,
}

/// Exponents beyond this are no numbers anyone means, and would be megabytes when written out.
const EXPONENT_MAX: i64 = 4096;

impl Decimal {
    /// Reads `[+-]digits[.digits][e[+-]digits]`; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok().filter(|e| e.abs() <= EXPONENT_MAX)?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let scale = i64::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        Some(Self { negative, digits: without_leading_zeros(digits), scale })
    }

    /// The integer part, truncated toward zero; `None` when it does not fit.
    pub(super) fn to_i64(&self) -> Option<i64> {
        let mut value = 0_i128;
        let whole = i64::try_from(self.digits.len()).ok()?.checked_sub(self.scale)?;
        let zero = self.digits == [b'0'];
        for at in 0..if zero { 0 } else { whole.max(0) } {
            let digit = usize::try_from(at).ok().and_then(|at| self.digits.get(at)).map_or(0, |d| d.wrapping_sub(b'0'));
            value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
        }
        i64::try_from(if self.negative { -value } else { value }).ok()
    }

    /// Plain text with at most `scale_max` digits after the point, rounded half up (away from zero); `None` when more
    /// than `whole_max` digits stand before it.
    pub(super) fn to_plain(&self, whole_max: usize, scale_max: usize) -> Option<String> {
        let mut digits = self.digits.clone();
        let mut scale = self.scale;
        let limit = i64::try_from(scale_max).ok()?;
        if scale > limit {
            let drop = usize::try_from(scale.checked_sub(limit)?).ok()?;
            let keep = digits.len().checked_sub(drop);
            let round_up = match keep {
                Some(keep) => digits.get(keep).is_some_and(|d| *d >= b'5'),
                None => false,
            };
            digits.truncate(keep.unwrap_or(0));
            if round_up {
                increment(&mut digits);
            }
            scale = limit;
        }
        if scale < 0 && digits.iter().any(|d| *d != b'0') {
            digits.resize(digits.len().checked_add(usize::try_from(-scale).ok()?)?, b'0');
        }
        let scale = usize::try_from(scale.max(0)).ok()?;
        let mut digits = without_leading_zeros(digits);
        if digits.len() <= scale {
            let missing = scale.checked_add(1)?.checked_sub(digits.len())?;
            digits.splice(0..0, std::iter::repeat_n(b'0', missing));
        }
        let (whole, fraction) = digits.split_at_checked(digits.len().checked_sub(scale)?)?;
        let zero = digits.iter().all(|d| *d == b'0');
        if whole.len() > whole_max && whole != [b'0'] {
            return None;
        }
        let mut text = String::with_capacity(digits.len().checked_add(2)?);
        if self.negative && !zero {
            text.push('-');
        }
        text.extend(whole.iter().map(|d| char::from(*d)));
        if !fraction.is_empty() {
            text.push('.');
            text.extend(fraction.iter().map(|d| char::from(*d)));
        }
        Some(text)
    }
}

fn without_leading_zeros(digits: Vec<u8>) -> Vec<u8> {
    let zeros = digits.iter().take_while(|d| **d == b'0').count();
    let rest = digits.get(zeros..).unwrap_or_default();
    if rest.is_empty() { vec![b'0'] } else { rest.to_vec() }
}

fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit = digit.wrapping_add(1);
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plain(text: &str, whole: usize, scale: usize) -> Option<String> {
        Decimal::parse(text).unwrap().to_plain(whole, scale)
    }

    #[test]
    fn integers_truncate_toward_zero() {
        let cases = [
            ("1.9", Some(1)),
            ("-1.9", Some(-1)),
            ("1e3", Some(1000)),
            ("12.5e1", Some(125)),
            ("0.00001", Some(0)),
            ("1e-9", Some(0)),
            ("0e4000", Some(0)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("1e40", None),
            (".5", Some(0)),
            ("007", Some(7)),
        ];
        for (text, expected) in cases {
            assert_eq!(Decimal::parse(text).unwrap().to_i64(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_number() {
        for text in ["", "-", ".", "1e", "1.2.3", "0x1", "1 ", " 1", "1e99999", "NaN", "１"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn plain_text_keeps_scale_and_rounds_half_up() {
        assert_eq!(plain("12.340", 8, 3).as_deref(), Some("12.340"));
        assert_eq!(plain("12.34", 8, 3).as_deref(), Some("12.34"));
        assert_eq!(plain("1.005", 8, 2).as_deref(), Some("1.01"));
        assert_eq!(plain("-1.005", 8, 2).as_deref(), Some("-1.01"));
        assert_eq!(plain("9.995", 1, 2), None);
        assert_eq!(plain("9.995", 2, 2).as_deref(), Some("10.00"));
        assert_eq!(plain("1E+3", 8, 2).as_deref(), Some("1000"));
        assert_eq!(plain("-0.004", 8, 2).as_deref(), Some("0.00"));
        assert_eq!(plain("0.5", 0, 1).as_deref(), Some("0.5"));
        assert_eq!(plain("0.5", 8, 0).as_deref(), Some("1"));
        assert_eq!(plain("0.05", 8, 0).as_deref(), Some("0"));
        assert_eq!(plain("123", 2, 0), None);
        assert_eq!(plain("1e4000", 36, 0), None);
        assert_eq!(plain("0e4000", 36, 0).as_deref(), Some("0"));
    }
}
