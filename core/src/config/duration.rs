//! Durations as Go writes them: `90s`, `1m30s`, `1.5h`.

use std::time::Duration;

use super::place::At;
use super::problem::{Report, quoted};

/// The duration under the key `key`, in whole seconds.
pub(super) fn seconds(
    text: &str,
    key: &str,
    at: &dyn At,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let duration = parse(text);
    if duration.is_none() {
        let help = match text.parse::<u32>() {
            Ok(number) => format!("write the unit: `{key}: {number}s`"),
            Err(_) => "write a number with its unit: `90s`, `1m30s`".to_owned(),
        };
        report.add(at, format!("{} is not a duration", quoted(text)), help);
    }
    duration.map(|duration| Duration::from_secs(duration.as_secs()))
}

/// `None` if it is not a duration, or a negative one, or above Go's 292 years.
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        nanos = nanos.checked_add(nanoseconds(number, unit)?)?;
        rest = after;
    }
    let nanos = i64::try_from(nanos).ok()?;
    Some(Duration::from_nanos(nanos.unsigned_abs()))
}

fn nanoseconds(number: &str, unit: &str) -> Option<u128> {
    let unit: u128 = match unit {
        "ns" => 1,
        // Both of Unicode's micro signs.
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        u128::from(whole.parse::<u64>().ok()?)
    };
    // Digits beyond the 15th are below a nanosecond in every unit.
    let digits = &fraction[..fraction.len().min(15)];
    let parts: u128 = if digits.is_empty() {
        0
    } else {
        digits.parse().ok()?
    };
    let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    whole.checked_mul(unit)?.checked_add(parts * unit / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let rows = [
            ("90s", Some(90_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("5.s", Some(5_000_000_000)),
            ("+3s", Some(3_000_000_000)),
            ("250ms", Some(250_000_000)),
            ("1us", Some(1_000)),
            ("1µs", Some(1_000)),
            ("1μs", Some(1_000)),
            ("7ns", Some(7)),
            ("0", Some(0)),
            ("0.000000000000000000001h", Some(0)),
            ("", None),
            ("90", None),
            ("s", None),
            (".s", None),
            ("1.2.3s", None),
            ("-3s", None),
            ("3 s", None),
            ("3d", None),
            ("300y", None),
            ("99999999999h", None),
        ];
        for (text, want) in rows {
            assert_eq!(parse(text), want.map(Duration::from_nanos), "{text:?}");
        }
    }
}
